package recovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/internal/publish"
)

// node is what is kept of a Node object.
type node struct {
	name, hostname string
	address        string // of its kubelet, address:port; "" if it is not known
}

func viewNode(obj any) (string, node, bool, error) {
	n, ok := obj.(*corev1.Node)
	if !ok {
		return "", node{}, false, fmt.Errorf("watching nodes: got a %T", obj)
	}
	v := node{name: n.Name, hostname: n.Labels[corev1.LabelHostname]}
	port := n.Status.DaemonEndpoints.KubeletEndpoint.Port
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && port != 0 && v.address == "" {
			v.address = net.JoinHostPort(a.Address, strconv.Itoa(int(port)))
		}
	}
	return n.Name, v, true, nil
}

// ids are all that a volume may call the node by. See Owner.IDs.
func (n node) ids() []string {
	return set(slices.DeleteFunc([]string{n.name, n.hostname, publish.NodeLabelValue(n.name)}, func(id string) bool { return id == "" }))
}

// knock is how long a kubelet is given to answer.
const knock = 2 * time.Second

// kubeletAnswers asks at a node's last address for a sign of life, and reports
// whether the kubelet of one of these nodes gives it. The Lease cannot tell that
// alone: Kubernetes deletes it with the Node object, and a kubelet makes it
// again only when it has a Node object. It is no proof of the contrary: the
// network may be closed, so nothing is deleted because of what it returns.
//
// A machine that has got the address since has another node's certificate.
// Nobody vouches for the certificate: one who forges it can keep volumes, and
// not have them deleted.
func kubeletAnswers(ctx context.Context, address string, names []string) bool {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, knock)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer conn.Close()
	for _, cert := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		if slices.ContainsFunc(names, func(name string) bool { return certifies(cert, name) }) {
			return true
		}
	}
	return false
}

// certifies reports whether a kubelet's serving certificate is that node's: one
// that the cluster has signed is for the user system:node:NAME, one that the
// kubelet has made for itself for NAME@TIME.
func certifies(cert *x509.Certificate, name string) bool {
	cn := cert.Subject.CommonName
	return cn == name || cn == "system:node:"+name || strings.HasPrefix(cn, name+"@") || slices.Contains(cert.DNSNames, name)
}
