// Package probe is the asking half of the test application: it runs inside a pod,
// asks many servers at once, and says of each what passed. It decides nothing about
// the mesh; package internal/verify does.
package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Request is what to probe; it is read as JSON from standard input.
type Request struct {
	Targets []Target `json:"targets"`
	// TransferBytes is the size of the transfer; 0 leaves it out.
	TransferBytes int64 `json:"transferBytes,omitempty"`
	// TimeoutSeconds bounds each check of each target; default 10.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
	// Parallel is how many targets are probed at once; default 8.
	Parallel int `json:"parallel,omitempty"`
}

// Target is one server.
type Target struct {
	// Name is the caller's, and comes back in the result.
	Name    string `json:"name"`
	Address string `json:"address"`
	Port    int    `json:"port"`
}

// Names of the checks, in the order in which they are reported.
const (
	ICMP     = "icmp"
	TCP      = "tcp"
	UDP      = "udp"
	Transfer = "transfer"
	DF       = "df"
	Source   = "source"
)

// Checks lists the names of all checks in order.
var Checks = []string{ICMP, TCP, UDP, Transfer, DF, Source}

// Result is the outcome for one target.
type Result struct {
	Target Target           `json:"target"`
	Checks map[string]Check `json:"checks"`
	// Source is the address that this end used.
	Source string `json:"source,omitempty"`
	// Seen is the address that the server saw.
	Seen string `json:"seen,omitempty"`
	// Server is the pod that answered.
	Server string `json:"server,omitempty"`
	// RTT is the shortest round trip, in microseconds: ICMP's, else TCP's handshake.
	RTTMicros int64 `json:"rttMicros,omitempty"`
	// DFBytes is the largest packet that passed unfragmented, IP header included.
	DFBytes int `json:"dfBytes,omitempty"`
	// LinkMTU is the MTU of the interface that leads there.
	LinkMTU int `json:"linkMTU,omitempty"`
}

// Check is one check's outcome.
type Check struct {
	OK bool `json:"ok"`
	// Skipped: could not be tried here, for the reason in Detail; not a failure.
	Skipped bool   `json:"skipped,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// Run probes all targets, several at a time, and returns the results in their order.
func Run(ctx context.Context, req Request) []Result {
	if req.TimeoutSeconds <= 0 {
		req.TimeoutSeconds = 10
	}
	if req.Parallel <= 0 {
		req.Parallel = 8
	}
	results := make([]Result, len(req.Targets))
	slots := make(chan struct{}, req.Parallel)
	var wg sync.WaitGroup
	for i, t := range req.Targets {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = one(ctx, t, req)
		})
	}
	wg.Wait()
	return results
}

// one runs the checks of one target one after the other, so that a transfer does not
// delay a round-trip time.
func one(ctx context.Context, t Target, req Request) Result {
	r := Result{Target: t, Checks: map[string]Check{}}
	addr, err := netip.ParseAddr(t.Address)
	if err != nil {
		for _, name := range Checks {
			r.Checks[name] = Check{Detail: fmt.Sprintf("address %q: %v", t.Address, err)}
		}
		return r
	}
	p := prober{
		addr:     addr,
		hostPort: net.JoinHostPort(t.Address, strconv.Itoa(t.Port)),
		timeout:  time.Duration(req.TimeoutSeconds) * time.Second,
		result:   &r,
	}
	r.Checks[ICMP] = p.icmp(ctx)
	r.Checks[TCP] = p.tcp(ctx)
	r.Checks[UDP] = p.udp(ctx)
	if req.TransferBytes > 0 {
		r.Checks[Transfer] = p.transfer(ctx, req.TransferBytes)
	}
	r.Checks[DF] = p.df(ctx)
	r.Checks[Source] = p.source()
	return r
}

// prober is the state of one target's checks.
type prober struct {
	addr     netip.Addr
	hostPort string
	timeout  time.Duration
	result   *Result
}

// source compares what this end sent from with what the server saw.
func (p prober) source() Check {
	r := p.result
	switch {
	case r.Seen == "":
		return Check{Detail: "no server answered"}
	case r.Seen != r.Source:
		return Check{Detail: fmt.Sprintf("sent from %s, but the server saw %s: something on the way rewrites the source address", r.Source, r.Seen)}
	default:
		return Check{OK: true, Detail: r.Seen}
	}
}

// noteRTT keeps the shortest round trip.
func (p prober) noteRTT(d time.Duration) {
	if us := d.Microseconds(); p.result.RTTMicros == 0 || us < p.result.RTTMicros {
		p.result.RTTMicros = max(us, 1)
	}
}

// noteSource keeps which address this end used and which the other end saw.
func (p prober) noteSource(local net.Addr, seen string) {
	p.result.Source = host(local.String())
	p.result.Seen = host(seen)
}

// host is the address of an address and port, IPv4-mapped ones as IPv4.
func host(hostPort string) string {
	ap, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return hostPort
	}
	return ap.Addr().Unmap().String()
}
