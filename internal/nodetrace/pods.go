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
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// errNoNamespace: no namespace on the node has the address.
var errNoNamespace = errors.New("no network namespace of the node has the pod's address")

// podNamespace finds the namespace of a pod by its address; the node's own without one.
func (l *looker) podNamespace(a netip.Addr) (tunnelns.Namespace, error) {
	if !a.IsValid() {
		return l.Node, nil
	}
	entries, err := os.ReadDir(l.Names)
	if err != nil {
		return tunnelns.Namespace{}, fmt.Errorf("find the pod's namespace: %w", err)
	}
	for _, e := range entries {
		n := tunnelns.At(filepath.Join(l.Names, e.Name()))
		if n.Path() != l.Namespace.Path() && n.Exists() && has(n, a) {
			return n, nil
		}
	}
	return tunnelns.Namespace{}, fmt.Errorf("%v: %w", a, errNoNamespace)
}

func has(n tunnelns.Namespace, a netip.Addr) bool {
	h, err := n.Netlink()
	if err != nil {
		return false
	}
	defer h.Close()
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return false
	}
	for _, found := range addrs {
		if at, ok := netip.AddrFromSlice(found.IP); ok && at.Unmap() == a {
			return true
		}
	}
	return false
}

// probeTimeout is how long a probe may take, at least.
const probeTimeout = 1500 * time.Millisecond

// probes sends all that were asked for, at once.
func (l *looker) probes(ctx context.Context) {
	views := make([]diagnose.ProbeView, len(l.ask.Probes))
	var group sync.WaitGroup
	for i, p := range l.ask.Probes {
		group.Go(func() { views[i] = l.probe(ctx, p) })
	}
	group.Wait()
	l.set(func(v *diagnose.NodeView) { v.Probes = views })
}

func (l *looker) probe(ctx context.Context, p diagnose.Probe) diagnose.ProbeView {
	v := diagnose.ProbeView{Probe: p}
	n, err := l.podNamespace(p.From)
	if err != nil {
		v.Error = err.Error()
		return v
	}
	var took time.Duration
	limit := max(probeTimeout, min(brief, l.ask.Watch))
	switch p.To.Protocol {
	case "tcp":
		took, err = l.connect(ctx, n, p.To, limit)
		if errors.Is(err, unix.ECONNREFUSED) {
			v.Answered, v.Refused, err = true, true, nil
		}
	case "icmp":
		took, err = l.echo(ctx, n, p, limit)
	default:
		v.Error = fmt.Sprintf("a probe by %q tells nothing: want tcp or icmp", p.To.Protocol)
		return v
	}
	if err != nil {
		v.Said = said(err)
		return v
	}
	v.Answered, v.Milliseconds = true, float64(took.Microseconds())/1000
	return v
}

func said(err error) string {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno.Error()
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errSilent.Error()
	}
	return err.Error()
}

func (l *looker) echo(ctx context.Context, n tunnelns.Namespace, p diagnose.Probe, limit time.Duration) (time.Duration, error) {
	ping, err := newPinger(n, p.From)
	if err != nil {
		return 0, err
	}
	defer ping.close()
	return ping.until(ctx, p.To.Address, 84, limit)
}

// connect opens a TCP connection and closes it again. The socket is made in the thread of
// the namespace, and belongs to it from then on.
func (l *looker) connect(ctx context.Context, n tunnelns.Namespace, to diagnose.Target, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	var conn net.Conn
	err := n.Do(func() (err error) {
		dialer := net.Dialer{Timeout: limit}
		conn, err = dialer.DialContext(ctx, "tcp", net.JoinHostPort(to.Address.String(), strconv.Itoa(int(to.Port))))
		return err
	})
	if err != nil {
		return 0, err
	}
	return time.Since(began), conn.Close()
}
