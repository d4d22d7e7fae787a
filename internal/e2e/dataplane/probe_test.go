package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

const servicePort = 8080

// serve answers TCP and UDP in the pod with the address that the caller is seen with.
func (p *pod) serve(t testing.TB) {
	t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	at := netip.AddrPortFrom(p.ip, servicePort).String()
	err := p.network().Do(func() (err error) {
		if tcp, err = net.Listen("tcp4", at); err != nil {
			return err
		}
		udp, err = net.ListenPacket("udp4", at)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, conn.RemoteAddr())
			conn.Close()
		}
	})
	group.Go(func() {
		buffer := make([]byte, 64)
		for {
			_, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte(from.String()), from)
		}
	})
	t.Cleanup(func() { tcp.Close(); udp.Close(); group.Wait() })
}

// ask calls the service of a pod and gives the address that the pod sees.
func ask(from tunnelns.Namespace, protocol string, to *pod, wait time.Duration) (seen netip.Addr, err error) {
	var text []byte
	err = from.Do(func() error {
		conn, err := net.DialTimeout(protocol, netip.AddrPortFrom(to.ip, servicePort).String(), wait)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
			return err
		}
		if protocol == "tcp4" {
			text, err = io.ReadAll(conn)
			return err
		}
		if _, err := conn.Write([]byte("who?")); err != nil {
			return err
		}
		text = make([]byte, 64)
		n, err := conn.Read(text)
		text = text[:n]
		return err
	})
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddrPort(string(text))
	return a.Addr(), err
}

// pinger sends echo requests at a steady pace and knows which were answered.
type pinger struct {
	conn net.PacketConn
	to   *net.IPAddr
	pace time.Duration
	stop context.CancelFunc

	sending, receiving sync.WaitGroup

	mu       sync.Mutex
	sent     []time.Time
	answered []bool
}

const pingID = 0x5d17

// ping sends echo requests at a pace until it is ended.
func ping(t testing.TB, from tunnelns.Namespace, source, to netip.Addr, pace time.Duration) *pinger {
	t.Helper()
	p := &pinger{to: &net.IPAddr{IP: to.AsSlice()}, pace: pace}
	err := from.Do(func() (err error) {
		p.conn, err = net.ListenPacket("ip4:icmp", source.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.sending.Go(func() { p.send(ctx) })
	p.receiving.Go(p.receive)
	t.Cleanup(p.close)
	return p
}

func (p *pinger) send(ctx context.Context) {
	tick := time.NewTicker(p.pace)
	defer tick.Stop()
	for {
		p.mu.Lock()
		number := len(p.sent)
		p.sent, p.answered = append(p.sent, time.Now()), append(p.answered, false)
		p.mu.Unlock()
		_, _ = p.conn.WriteTo(echo(8, uint16(number)), p.to) // not sent is lost
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// echo is an ICMP echo request or reply (RFC 792).
func echo(kind byte, number uint16) []byte {
	b := make([]byte, 16)
	b[0] = kind
	binary.BigEndian.PutUint16(b[4:], pingID)
	binary.BigEndian.PutUint16(b[6:], number)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	return b
}

func (p *pinger) receive() {
	buffer := make([]byte, 1500)
	for {
		n, _, err := p.conn.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 8 || buffer[0] != 0 || binary.BigEndian.Uint16(buffer[4:]) != pingID {
			continue
		}
		number := int(binary.BigEndian.Uint16(buffer[6:]))
		p.mu.Lock()
		if number < len(p.answered) {
			p.answered[number] = true
		}
		p.mu.Unlock()
	}
}

// count is how many were sent and how many of them were not answered.
func (p *pinger) count() (sent, lost int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.answered {
		if !a {
			lost++
		}
	}
	return len(p.answered), lost
}

// lastAnswered tells whether the last request was answered, so that no answer is to come
// any more: they come in the order of the requests.
func (p *pinger) lastAnswered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered[len(p.answered)-1]
}

// result is what became of the requests.
type result struct {
	sent, lost int
	took       time.Duration
	// outage is the longest time without an answer: from the first request that was lost
	// to the first after it that was not.
	outage time.Duration
}

func (r result) String() string {
	return fmt.Sprintf("%d pings in %.1f s, %d lost, longest outage %v", r.sent, r.took.Seconds(), r.lost, r.outage.Round(10*time.Millisecond))
}

// close ends the pinger; what is sent is all sent before the socket is closed.
func (p *pinger) close() {
	p.stop()
	p.sending.Wait()
	p.conn.Close()
	p.receiving.Wait()
}

// end stops sending, waits for the last answers and closes the socket.
func (p *pinger) end() result {
	p.stop()
	p.sending.Wait() // the last one too is given time for its answer
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline) && !p.lastAnswered(); time.Sleep(10 * time.Millisecond) {
	}
	p.close()
	r := result{}
	r.sent, r.lost = p.count()
	r.took = p.sent[r.sent-1].Sub(p.sent[0])
	var since time.Time
	for i, a := range p.answered {
		switch {
		case !a && since.IsZero():
			since = p.sent[i]
		case !since.IsZero():
			r.outage = max(r.outage, p.sent[i].Sub(since))
			if a {
				since = time.Time{}
			}
		}
	}
	return r
}

// awaitAnswers waits until a number of further requests have been answered.
func (p *pinger) awaitAnswers(t *testing.T, number int) {
	t.Helper()
	sent, lost := p.count()
	want := sent - lost + number
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if sent, lost := p.count(); sent-lost >= want {
			return
		}
	}
	t.Fatalf("no answers from %v within %v", p.to, patience)
}
