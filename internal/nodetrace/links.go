package nodetrace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// places are the namespaces by the names that views have for them.
func (l *looker) places() map[string]tunnelns.Namespace {
	all := map[string]tunnelns.Namespace{diagnose.OfNode: l.Node}
	if l.Namespace.Exists() {
		all[diagnose.OfTunnel] = l.Namespace
	}
	return all
}

// links reads those that a packet to the tunnel passes.
func (l *looker) links(context.Context) {
	for place, names := range map[string][]string{
		diagnose.OfNode:   {tunnelns.DefaultPodLink, tunnelns.DefaultOutside},
		diagnose.OfTunnel: {tunnelns.DefaultInside, deviceLink},
	} {
		n, there := l.places()[place]
		for _, name := range names {
			link := diagnose.Link{Name: name, Missing: true}
			if there {
				var err error
				link, err = readLink(n, name)
				l.failed("link "+name, err)
			}
			l.set(func(v *diagnose.NodeView) { v.Links = append(v.Links, link) })
		}
	}
}

func readLink(n tunnelns.Namespace, name string) (diagnose.Link, error) {
	h, err := n.Netlink()
	if err != nil {
		return diagnose.Link{Name: name}, err
	}
	defer h.Close()
	link, err := h.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return diagnose.Link{Name: name, Missing: true}, nil
	}
	if err != nil {
		return diagnose.Link{Name: name}, err
	}
	return diagnose.Link{Name: name, Up: link.Attrs().Flags&net.FlagUp != 0, MTU: link.Attrs().MTU}, nil
}

func (l *looker) tunnelMTU() int {
	link, err := readLink(l.Namespace, deviceLink)
	if err != nil {
		return 0
	}
	return link.MTU
}

// sysctls are those that let packets pass the tunnel's namespace.
func (l *looker) sysctls(context.Context) {
	n, there := l.places()[diagnose.OfTunnel]
	if !there {
		return
	}
	read := func(name, want string, right func(string) bool) {
		var value string
		err := n.Do(func() error {
			text, err := os.ReadFile(filepath.Join("/proc/sys/net", name))
			value = strings.TrimSpace(string(text))
			return err
		})
		if err != nil || right(value) {
			return // one that the kernel has not cannot be wrong
		}
		l.set(func(v *diagnose.NodeView) {
			v.Sysctls = append(v.Sysctls, diagnose.Sysctl{Namespace: diagnose.OfTunnel, Name: "net." + strings.ReplaceAll(name, "/", "."), Value: value, Want: want})
		})
	}
	on := func(s string) bool { return s == "1" }
	notStrict := func(s string) bool { return s != "1" }
	read("ipv4/ip_forward", "1", on)
	for _, link := range []string{tunnelns.DefaultInside, deviceLink} {
		read("ipv4/conf/"+link+"/rp_filter", "2", notStrict)
		read("ipv4/conf/"+link+"/forwarding", "1", on)
	}
	read("ipv4/conf/all/rp_filter", "2", notStrict)
}

// routes looks up where packets to the addresses go, from the node and in the tunnel's
// namespace.
func (l *looker) routes(context.Context) {
	for place, n := range l.places() {
		h, err := n.Netlink()
		if err != nil {
			l.failed("routes of "+place, err)
			continue
		}
		for _, to := range l.addresses() {
			r := route(h, to)
			r.Namespace = place
			l.set(func(v *diagnose.NodeView) { v.Routes = append(v.Routes, r) })
		}
		h.Close()
	}
}

func route(h *netlink.Handle, to netip.Addr) diagnose.Route {
	r := diagnose.Route{To: to}
	found, err := h.RouteGet(to.AsSlice())
	switch {
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH):
		r.Error = "there is none"
	case err != nil:
		r.Error = err.Error()
	case len(found) == 0:
		r.Error = "there is none"
	default:
		r.Local = found[0].Type == unix.RTN_LOCAL
		if link, err := h.LinkByIndex(found[0].LinkIndex); err == nil {
			r.Link = link.Attrs().Name
		}
	}
	return r
}

// conntrack reads how full connection tracking is.
func (l *looker) conntrack(context.Context) {
	number := func(n tunnelns.Namespace, name string) (value int, err error) {
		err = n.Do(func() error {
			text, err := os.ReadFile("/proc/sys/net/netfilter/" + name)
			if err != nil {
				return err
			}
			value, err = strconv.Atoi(strings.TrimSpace(string(text)))
			return err
		})
		return value, err
	}
	var c diagnose.Conntrack
	var errs [3]error
	c.Max, errs[0] = number(l.Node, "nf_conntrack_max")
	c.Count, errs[1] = number(l.Node, "nf_conntrack_count")
	if l.Namespace.Exists() {
		c.Namespace, errs[2] = number(l.Namespace, "nf_conntrack_count")
	}
	if err := errors.Join(errs[:]...); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.failed("connection tracking", fmt.Errorf("read its size: %w", err))
	}
	l.set(func(v *diagnose.NodeView) { v.Conntrack = c })
}
