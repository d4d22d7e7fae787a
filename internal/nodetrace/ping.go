package nodetrace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

const (
	icmpHeaders = 28 // IPv4 and ICMP
	interval    = 250 * time.Millisecond
	peersAtOnce = 64
)

// sizes are tried where one of the tunnel's full size is not answered, in bytes; the small one
// passes everywhere and has been answered before.
var sizes = []int{1400, 1380, 1360, 1340, 1320, 1300, 1280, 1200, 1000, 576, smallest}

const smallest = 84

// pinger sends ICMP echo requests from one namespace.
type pinger struct {
	conn net.PacketConn
	id   uint16

	mu      sync.Mutex
	waiting map[echo]chan error
}

// echo is one request that waits for its answer.
type echo struct {
	to  netip.Addr
	seq uint16
}

// newPinger opens a socket whose packets may not be fragmented, whatever the kernel knows of
// the path. from may be invalid.
func newPinger(n tunnelns.Namespace, from netip.Addr) (*pinger, error) {
	p := &pinger{id: uint16(rand.Uint32()), waiting: map[echo]chan error{}}
	local := "0.0.0.0"
	if from.Is4() {
		local = from.String()
	}
	err := n.Do(func() (err error) {
		p.conn, err = net.ListenPacket("ip4:icmp", local)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket for ping in %v: %w", n, err)
	}
	raw, err := p.conn.(*net.IPConn).SyscallConn()
	if err == nil {
		var failed error
		err = raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		})
		err = errors.Join(err, failed)
	}
	if err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	go p.read()
	return p, nil
}

func (p *pinger) close() { _ = p.conn.Close() } // ends read

// read hands answers out until the socket is closed.
func (p *pinger) read() {
	packet := make([]byte, 65536)
	for {
		n, from, err := p.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		m, err := icmp.ParseMessage(unix.IPPROTO_ICMP, packet[:n])
		if err != nil {
			continue
		}
		switch body := m.Body.(type) {
		case *icmp.Echo:
			if at, ok := netip.AddrFromSlice(from.(*net.IPAddr).IP); ok && m.Type == ipv4.ICMPTypeEchoReply && body.ID == int(p.id) {
				p.answer(echo{at.Unmap(), uint16(body.Seq)}, nil)
			}
		case *icmp.DstUnreach:
			p.unreachable(body.Data, from, m.Code)
		}
	}
}

// unreachable is an error for a packet of ours, whose begin it quotes.
func (p *pinger) unreachable(quoted []byte, from net.Addr, code int) {
	if len(quoted) < 28 || quoted[0] != 0x45 || binary.BigEndian.Uint16(quoted[24:]) != p.id {
		return
	}
	to := netip.AddrFrom4([4]byte(quoted[16:20]))
	p.answer(echo{to, binary.BigEndian.Uint16(quoted[26:])}, fmt.Errorf("%v says: destination unreachable, %s", from, reason(code)))
}

// reason is an ICMP code of "destination unreachable" (RFC 792, RFC 1812).
func reason(code int) string {
	names := map[int]string{0: "network", 1: "host", 3: "port", 4: "packet too big", 9: "prohibited", 10: "prohibited", 13: "prohibited by a firewall"}
	if name, ok := names[code]; ok {
		return name
	}
	return fmt.Sprintf("code %d", code)
}

func (p *pinger) answer(e echo, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.waiting[e]; c != nil {
		c <- err
		delete(p.waiting, e)
	}
}

// ping sends a request of a size, in bytes with all headers, and waits for the answer.
func (p *pinger) ping(ctx context.Context, to netip.Addr, size int, limit time.Duration) (time.Duration, error) {
	e, done := echo{to, uint16(rand.Uint32())}, make(chan error, 1)
	p.mu.Lock()
	p.waiting[e] = done
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, e)
		p.mu.Unlock()
	}()
	message := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(p.id), Seq: int(e.seq), Data: make([]byte, max(0, size-icmpHeaders))}}
	packet, err := message.Marshal(nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := p.conn.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()}); err != nil {
		return 0, err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return time.Since(began), err
	case <-timer.C:
		return 0, errSilent
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

var errSilent = errors.New("no answer")

// until pings again and again until one is answered or the time is over. An error that
// somebody on the way sends does not end it: the way may just be made.
func (p *pinger) until(ctx context.Context, to netip.Addr, size int, limit time.Duration) (took time.Duration, err error) {
	for end := time.Now().Add(limit); ; {
		took, err = p.ping(ctx, to, size, max(interval, min(time.Until(end), time.Second)))
		if err == nil || ctx.Err() != nil || time.Until(end) < interval {
			return took, err
		}
		if !errors.Is(err, errSilent) {
			time.Sleep(interval)
		}
	}
}

// pingPeers has all peers answer through the tunnel, at their tunnel addresses.
func (l *looker) pingPeers(ctx context.Context, limit time.Duration) []diagnose.PeerView {
	views := make([]diagnose.PeerView, len(l.ask.Peers))
	p, err := newPinger(l.Namespace, l.plan.TunnelAddress)
	for i, a := range l.ask.Peers {
		views[i].Name = a.Name
		if err != nil {
			views[i].Error = err.Error()
		}
	}
	if err != nil {
		return views
	}
	defer p.close()
	mtu := l.tunnelMTU()
	slots := make(chan struct{}, peersAtOnce)
	var group sync.WaitGroup
	for i, a := range l.ask.Peers {
		if !a.TunnelAddress.Is4() {
			views[i].Error = "it has no tunnel address"
			continue
		}
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			l.pingPeer(ctx, p, a.TunnelAddress, mtu, limit, &views[i])
		})
	}
	group.Wait()
	return views
}

func (l *looker) pingPeer(ctx context.Context, p *pinger, to netip.Addr, mtu int, limit time.Duration, v *diagnose.PeerView) {
	took, err := p.until(ctx, to, smallest, max(patience, limit))
	if err != nil {
		v.Error = err.Error()
		return
	}
	v.Answers, v.Milliseconds = true, float64(took.Microseconds())/1000
	if v.Size = mtu; mtu == 0 {
		return
	}
	if _, err := p.until(ctx, to, mtu, 2*patience+took); err == nil {
		v.Full, v.Largest = true, mtu
		return
	}
	if v.Largest = p.largest(ctx, to, mtu, 2*patience+took); v.Largest == 0 { // it was not the size
		*v = diagnose.PeerView{Name: v.Name, Error: "it answered once, and then no more"}
	}
}

// largest is the largest of sizes below that of mtu that is answered, 0 if none is.
func (p *pinger) largest(ctx context.Context, to netip.Addr, mtu int, limit time.Duration) (most int) {
	answered := make([]bool, len(sizes))
	var group sync.WaitGroup
	for i, size := range sizes {
		if size < mtu {
			group.Go(func() {
				_, err := p.until(ctx, to, size, limit)
				answered[i] = err == nil
			})
		}
	}
	group.Wait()
	for i, ok := range answered {
		if ok {
			most = max(most, sizes[i])
		}
	}
	return most
}
