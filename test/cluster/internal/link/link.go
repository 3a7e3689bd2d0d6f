// Package link makes the cluster's network: one bridge in the supervisor's own
// network namespace, a pair of devices from it to each node's namespace, and
// one pair to the machine, so that kubectl reaches the API server.
//
// In the machine's own namespace there is that one device and nothing else: no
// bridge, route, rule or setting is changed. When the supervisor dies its
// namespace goes, and the kernel removes the device with it. The package gives
// no way out to other networks.
package link

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"

	"github.com/vishvananda/netlink"
)

// bridge is the device that joins all parts; each cluster has a namespace of
// its own for it, so one name does for all.
const bridge = "br0"

// ErrNoRange says that every range of addresses is taken.
var ErrNoRange = errors.New("no free range of addresses in 198.18.0.0/15; remove a cluster or a route")

// FreePrefix picks a /24 that overlaps no address and no route of this
// machine, as its first three bytes. Ranges come from 198.18.0.0/15, which
// RFC 2544 keeps for tests and no network routes; the search starts at a place
// given by the id, so that a cluster tends to keep its addresses.
func FreePrefix(id string) (string, error) {
	taken, err := takenNets()
	if err != nil {
		return "", err
	}
	return freePrefix(id, taken)
}

func freePrefix(id string, taken []*net.IPNet) (string, error) {
	h := fnv.New32a()
	h.Write([]byte(id))
	first := int(h.Sum32() % 512)
	for i := range 512 {
		n := (first + i) % 512
		ip := net.IPv4(198, byte(18+n/256), byte(n%256), 0)
		candidate := &net.IPNet{IP: ip.To4(), Mask: net.CIDRMask(24, 32)}
		if !overlapsAny(candidate, taken) {
			return fmt.Sprintf("198.%d.%d", 18+n/256, n%256), nil
		}
	}
	return "", ErrNoRange
}

func overlapsAny(n *net.IPNet, taken []*net.IPNet) bool {
	for _, t := range taken {
		if n.Contains(t.IP) || t.Contains(n.IP) {
			return true
		}
	}
	return false
}

// takenNets are the networks this machine has addresses in or routes to, but
// for the default route.
func takenNets() ([]*net.IPNet, error) {
	var taken []*net.IPNet
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range addrs {
		taken = append(taken, a.IPNet)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil {
			continue
		}
		if ones, _ := r.Dst.Mask.Size(); ones > 0 {
			taken = append(taken, r.Dst)
		}
	}
	return taken, nil
}

// JoinMachine makes the pair between the machine and the supervisor's
// namespace, given by its process. The machine's end gets the name and the
// address; its alias says whose it is, and Remove asks for it again.
func JoinMachine(name, alias, address string, pid int) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, MTU: 1500},
		PeerName:      "host0",
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("adding network device %s: %w", name, err)
	}
	dev, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding network device %s: %w", name, err)
	}
	if err := netlink.LinkSetAlias(dev, alias); err != nil {
		return fmt.Errorf("marking network device %s: %w", name, err)
	}
	return up(dev, address)
}

// Remove deletes the machine's end of a dead cluster if the kernel has not
// done so yet. A device of that name that is not the cluster's is left alone.
func Remove(name, alias string) error {
	dev, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding network device %s: %w", name, err)
	}
	// An interruption can come between making and marking; then the kind and
	// the name, which has the hash of the directory in it, must do.
	if a := dev.Attrs().Alias; dev.Type() != "veth" || a != alias && a != "" {
		return fmt.Errorf("removing network device %s: it is not this cluster's", name)
	}
	err = netlink.LinkDel(dev)
	if _, err2 := netlink.LinkByName(name); errors.As(err2, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing network device %s: %w", name, err)
	}
	return nil
}

func up(dev netlink.Link, address string) error {
	name := dev.Attrs().Name
	if address != "" {
		a, err := netlink.ParseAddr(address + "/24")
		if err != nil {
			return fmt.Errorf("giving %s the address %s: %w", name, address, err)
		}
		if err := netlink.AddrAdd(dev, a); err != nil {
			return fmt.Errorf("giving %s the address %s: %w", name, address, err)
		}
	}
	if err := netlink.LinkSetUp(dev); err != nil {
		return fmt.Errorf("switching %s on: %w", name, err)
	}
	return nil
}
