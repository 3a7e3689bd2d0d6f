package link

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/vishvananda/netlink"
)

// Loopback switches on the loopback device of the caller's namespace.
func Loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the loopback device: %w", err)
	}
	return up(lo, "")
}

// Bridge makes the bridge in the caller's namespace, gives it the control
// plane's address and takes the machine's pair into it.
func Bridge(address string) error {
	if err := Loopback(); err != nil {
		return err
	}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}); err != nil {
		return fmt.Errorf("adding the bridge: %w", err)
	}
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("finding the bridge: %w", err)
	}
	if err := up(br, address); err != nil {
		return err
	}
	return enslave("host0")
}

// JoinNode makes the pair between the bridge and a node's namespace, given by
// a process in it, and the route to the node's pods. The node's end is eth0.
func JoinNode(index, pid int, node, pods string) error {
	name := fmt.Sprintf("node%d", index)
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name, MTU: 1500},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsPid(pid),
	}
	err := netlink.LinkAdd(pair)
	if errors.Is(err, syscall.EEXIST) {
		// The last life of the node ended a moment ago; the kernel takes a
		// namespace's devices away behind its back.
		if old, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(old)
		}
		err = netlink.LinkAdd(pair)
	}
	if err != nil {
		return fmt.Errorf("adding network device %s: %w", name, err)
	}
	if err := enslave(name); err != nil {
		return err
	}
	return Route(pods, node)
}

func enslave(name string) error {
	dev, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding network device %s: %w", name, err)
	}
	br, err := netlink.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("finding the bridge: %w", err)
	}
	if err := netlink.LinkSetMaster(dev, br); err != nil {
		return fmt.Errorf("joining %s to the bridge: %w", name, err)
	}
	return up(dev, "")
}

// Node configures the caller's namespace as a node's: its address on eth0, and
// a default route to the control plane. Nothing is forwarded there; the route
// only lets a process on the node open a connection to a service address,
// which the node's rules then rewrite.
func Node(address, gateway string) error {
	if err := Loopback(); err != nil {
		return err
	}
	dev, err := netlink.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("finding eth0: %w", err)
	}
	if err := up(dev, address); err != nil {
		return err
	}
	return Route("0.0.0.0/0", gateway)
}

// Route sends a range of addresses by way of a neighbour, in the caller's
// namespace. Doing it twice is fine.
func Route(dst, via string) error {
	_, n, err := net.ParseCIDR(dst)
	if err != nil {
		return fmt.Errorf("adding a route: %w", err)
	}
	err = netlink.RouteReplace(&netlink.Route{Dst: n, Gw: net.ParseIP(via)})
	if err != nil {
		return fmt.Errorf("adding a route to %s by %s: %w", dst, via, err)
	}
	return nil
}
