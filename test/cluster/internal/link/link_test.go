package link

import (
	"errors"
	"net"
	"strings"
	"testing"
)

func network(t *testing.T, cidr string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(cidr)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFreePrefix(t *testing.T) {
	first, err := freePrefix("one", nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := freePrefix("one", nil); again != first {
		t.Errorf("the same id gives %s and %s", first, again)
	}
	if !strings.HasPrefix(first, "198.18.") && !strings.HasPrefix(first, "198.19.") {
		t.Errorf("the range is %s", first)
	}
	// Taken by another cluster, as an address with its network's mask.
	ip, n, _ := net.ParseCIDR(first + ".1/24")
	taken := []*net.IPNet{{IP: ip, Mask: n.Mask}, network(t, "10.0.0.0/8")}
	if second, err := freePrefix("one", taken); err != nil || second == first {
		t.Errorf("with %s taken, the range is %s, %v", first, second, err)
	}
	if half, err := freePrefix("one", []*net.IPNet{network(t, "198.18.0.0/16")}); err != nil || !strings.HasPrefix(half, "198.19.") {
		t.Errorf("with half of the ranges taken, the range is %s, %v", half, err)
	}
	if _, err := freePrefix("one", []*net.IPNet{network(t, "198.0.0.0/8")}); !errors.Is(err, ErrNoRange) {
		t.Errorf("with all taken: %v", err)
	}
}

func TestFreePrefixHere(t *testing.T) {
	if prefix, err := FreePrefix("a test"); err != nil || prefix == "" {
		t.Errorf("%q, %v", prefix, err)
	}
}

// A device that is not a cluster's is left alone, whatever it is called.
func TestRemoveOfOthers(t *testing.T) {
	if err := Remove("lo", "berth cluster 0"); err == nil {
		t.Fatal("the loopback device was removed")
	}
	if err := Remove("berthnone", "berth cluster 0"); err != nil {
		t.Errorf("removing a device that is not there: %v", err)
	}
}
