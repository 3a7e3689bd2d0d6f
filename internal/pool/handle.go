package pool

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
)

// A Handle names a volume of any node's pools for Kubernetes:
// <node>/<pool>/<ID>. It has at most 109 bytes with a pool name of 32; CSI allows
// 128.
type Handle struct {
	Node string // what nodeHash makes of the node's name
	Pool string
	ID   ID
}

// HandleOf names a volume of a pool on the node of that name.
func HandleOf(node, pool string, id ID) Handle { return Handle{nodeHash(node), pool, id} }

// ParseHandle is the opposite of String. What is no handle is ErrInvalid; the
// parts that were read are returned all the same.
func ParseHandle(text string) (Handle, error) {
	node, rest, _ := strings.Cut(text, "/")
	pool, id, _ := strings.Cut(rest, "/")
	h := Handle{node, pool, ID(id)}
	if !validNode.MatchString(node) || ID(pool).Check() != nil || h.ID.Check() != nil {
		return h, fmt.Errorf("%w: the volume handle %q; allowed: <node>/<pool>/<volume>", ErrInvalid, text)
	}
	return h, nil
}

func (h Handle) String() string { return h.Node + "/" + h.Pool + "/" + string(h.ID) }

// On reports whether the volume is on the node of that name.
func (h Handle) On(node string) bool { return h.Node == nodeHash(node) }

var validNode = regexp.MustCompile(`^[0-9a-f]{12}$`)

// nodeHash is short, as node names have up to 253 bytes.
func nodeHash(node string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(node)))[:12] }
