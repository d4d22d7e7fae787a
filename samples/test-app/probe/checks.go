package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/server"
)

// echoes is how many ICMP echoes and datagrams are tried.
const echoes = 3

// icmp sends echoes from an unprivileged socket (net.ipv4.ping_group_range).
func (p prober) icmp(ctx context.Context) Check {
	network, any, kind, proto := "udp4", "0.0.0.0", icmp.Type(ipv4.ICMPTypeEcho), 1
	if p.addr.Is6() {
		network, any, kind, proto = "udp6", "::", ipv6.ICMPTypeEchoRequest, 58
	}
	conn, err := icmp.ListenPacket(network, any)
	if errors.Is(err, os.ErrPermission) {
		return Check{Skipped: true, Detail: "ping sockets are not permitted here (net.ipv4.ping_group_range)"}
	}
	if err != nil {
		return Check{Detail: err.Error()}
	}
	defer conn.Close()
	answered := 0
	for seq := range echoes {
		if ctx.Err() != nil {
			break
		}
		rtt, err := p.echo(conn, kind, proto, seq)
		if err == nil {
			answered++
			p.noteRTT(rtt)
		}
	}
	if answered == 0 {
		return Check{Detail: fmt.Sprintf("no answer to %d echoes", echoes)}
	}
	return Check{OK: true, Detail: fmt.Sprintf("%d of %d echoes answered", answered, echoes)}
}

// echo is one echo and the wait for its answer, a third of the check's time.
func (p prober) echo(conn *icmp.PacketConn, kind icmp.Type, proto, seq int) (time.Duration, error) {
	msg := icmp.Message{Type: kind, Body: &icmp.Echo{Seq: seq, Data: []byte("sdn-tunnel test-app")}}
	out, err := msg.Marshal(nil)
	if err != nil {
		return 0, fmt.Errorf("encode an echo: %w", err)
	}
	start := time.Now()
	if _, err := conn.WriteTo(out, &net.UDPAddr{IP: p.addr.AsSlice()}); err != nil {
		return 0, fmt.Errorf("send an echo: %w", err)
	}
	if err := conn.SetReadDeadline(start.Add(p.timeout / echoes)); err != nil {
		return 0, err
	}
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return 0, fmt.Errorf("wait for the answer: %w", err)
		}
		in, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil {
			continue
		}
		if body, ok := in.Body.(*icmp.Echo); ok && body.Seq == seq {
			return time.Since(start), nil
		}
	}
}

// newClient makes a connection of its own for each question and keeps none.
func newClient(timeout time.Duration, onDial func(net.Conn, time.Duration)) *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		start := time.Now()
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			onDial(conn, time.Since(start))
		}
		return conn, err
	}
	return &http.Client{
		Timeout:   timeout,
		Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true, DialContext: dial},
	}
}

// tcp has the server say who is asking.
func (p prober) tcp(ctx context.Context) Check {
	var local net.Addr
	client := newClient(p.timeout, func(c net.Conn, handshake time.Duration) {
		local = c.LocalAddr()
		p.noteRTT(handshake)
	})
	answer, err := whoami(ctx, client, p.hostPort)
	if err != nil {
		return Check{Detail: err.Error()}
	}
	p.noteSource(local, answer.Remote)
	p.result.Server = answer.Pod
	return Check{OK: true}
}

// whoami asks the server who is asking.
func whoami(ctx context.Context, client *http.Client, hostPort string) (answer server.Answer, err error) {
	err = get(ctx, client, "http://"+hostPort+"/", func(r *http.Response) error {
		return json.NewDecoder(io.LimitReader(r.Body, 1<<16)).Decode(&answer)
	})
	return answer, err
}

// transfer downloads and checks the sum.
func (p prober) transfer(ctx context.Context, size int64) Check {
	client := newClient(p.timeout, func(net.Conn, time.Duration) {})
	client.Timeout = max(p.timeout, time.Duration(size/(256<<10))*time.Second)
	start := time.Now()
	err := get(ctx, client, fmt.Sprintf("http://%s/blob?size=%d", p.hostPort, size), func(r *http.Response) error {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", n, size, err)
		}
		want := r.Header.Get(server.ChecksumHeader)
		if got := hex.EncodeToString(sum.Sum(nil)); n != size || got != want {
			return fmt.Errorf("%d of %d bytes with checksum %.12s…, want %.12s…", n, size, got, want)
		}
		return nil
	})
	if err != nil {
		return Check{Detail: err.Error()}
	}
	rate := float64(size) / 1e6 / max(time.Since(start).Seconds(), 1e-6)
	return Check{OK: true, Detail: fmt.Sprintf("%.0f MB/s", rate)}
}

// get is one GET whose answer read consumes.
func get(ctx context.Context, client *http.Client, url string, read func(*http.Response) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return read(resp)
}

// udp sends small datagrams until one is answered.
func (p prober) udp(ctx context.Context) Check {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", p.hostPort)
	if err != nil {
		return Check{Detail: err.Error()}
	}
	defer conn.Close()
	var last error
	for i := range echoes {
		answer, err := ask(ctx, conn, fmt.Sprintf("udp-%d", i), 0, p.timeout/echoes)
		if err != nil {
			last = err
			continue
		}
		if p.result.Seen == "" {
			p.noteSource(conn.LocalAddr(), answer.Remote)
			p.result.Server = answer.Pod
		}
		if seen, local := host(answer.Remote), host(conn.LocalAddr().String()); seen != local {
			p.noteSource(conn.LocalAddr(), answer.Remote)
		}
		return Check{OK: true}
	}
	return Check{Detail: fmt.Sprintf("no answer to %d datagrams: %v", echoes, last)}
}

// ask sends a datagram of at least size bytes that begins with token, and waits for the
// answer to that token.
func ask(ctx context.Context, conn net.Conn, token string, size int, wait time.Duration) (server.Answer, error) {
	payload := make([]byte, max(size, len(token)+1))
	copy(payload, token+" ")
	deadline := time.Now().Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return server.Answer{}, err
	}
	if _, err := conn.Write(payload); err != nil {
		return server.Answer{}, fmt.Errorf("send %d bytes: %w", len(payload), err)
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return server.Answer{}, fmt.Errorf("wait for the answer: %w", err)
		}
		var answer server.Answer
		if json.Unmarshal(buf[:n], &answer) == nil && answer.Token == token {
			return answer, nil
		}
	}
}
