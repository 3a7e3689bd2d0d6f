// Package pki makes the cluster's certificates, keys and kubeconfig files.
// They live as long as the cluster's directory; nothing is renewed.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// life of every certificate, counted from a little before now.
const life = 10 * 365 * 24 * time.Hour

// Authority signs the cluster's certificates.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// NewAuthority makes an authority and writes its certificate and key to
// ca.crt and ca.key in dir.
func NewAuthority(dir string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "berth-cluster"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:     true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	a := &Authority{dir: dir, cert: cert, key: key, pem: block("CERTIFICATE", der)}
	keyPEM, err := keyBlock(key)
	if err != nil {
		return nil, err
	}
	if err := write(filepath.Join(dir, "ca.crt"), a.pem); err != nil {
		return nil, err
	}
	return a, write(filepath.Join(dir, "ca.key"), keyPEM)
}

// CA is the authority's certificate in PEM.
func (a *Authority) CA() []byte { return a.pem }

// Pair is a certificate and its key in PEM.
type Pair struct{ Cert, Key []byte }

// Issue makes a certificate that serves for the hosts and identifies its
// holder as a user of that name and groups.
func (a *Authority) Issue(user string, groups []string, hosts ...string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return Pair{}, fmt.Errorf("making a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: user, Organization: groups},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("making a certificate for %s: %w", user, err)
	}
	keyPEM, err := keyBlock(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Cert: block("CERTIFICATE", der), Key: keyPEM}, nil
}

// IssueFiles issues a certificate into NAME.crt and NAME.key.
func (a *Authority) IssueFiles(name, user string, groups []string, hosts ...string) error {
	pair, err := a.Issue(user, groups, hosts...)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(a.dir, name+".crt"), pair.Cert); err != nil {
		return err
	}
	return write(filepath.Join(a.dir, name+".key"), pair.Key)
}

// Signer writes a pair of bare keys, NAME.pub and NAME.key; the API server
// signs service account tokens with one.
func Signer(dir, name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	keyPEM, err := keyBlock(key)
	if err != nil {
		return err
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	if err := write(filepath.Join(dir, name+".pub"), block("PUBLIC KEY", pub)); err != nil {
		return err
	}
	return write(filepath.Join(dir, name+".key"), keyPEM)
}

// Kubeconfig writes a kubeconfig file that holds all it needs, so it can be
// copied elsewhere.
func (a *Authority) Kubeconfig(path, server, user string, groups ...string) error {
	pair, err := a.Issue(user, groups)
	if err != nil {
		return err
	}
	enc := base64.StdEncoding.EncodeToString
	return write(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: berth
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %q
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: berth
  context: {cluster: berth, user: %[3]q}
current-context: berth
`, server, enc(a.pem), user, enc(pair.Cert), enc(pair.Key)))
}

func keyBlock(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return block("PRIVATE KEY", der), nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return nil
}
