package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// Config is what a Prober needs. Zero values give the defaults.
type Config struct {
	// Namespace is that of the tunnel, Link the interface that leads to the peers.
	Namespace tunnelns.Namespace
	Link      string
	// Every is how often a peer is probed, and MostPerSecond how many probes there are in
	// all; the lower rate of the two holds.
	Every         time.Duration
	MostPerSecond int
	// Probed, if not nil, is told how each probe went. It must not block.
	Probed func(peer mesh.Ref, answered bool, took time.Duration)
	Log    *slog.Logger
}

const (
	defaultEvery = 2 * time.Second
	defaultMost  = 100
)

// Prober probes peers.
type Prober struct {
	cfg Config

	mu     sync.Mutex
	source netip.Addr
	round  round
}

// New makes a Prober that has nobody to probe.
func New(c Config) *Prober {
	if c.Namespace == (tunnelns.Namespace{}) {
		c.Namespace = tunnelns.At(tunnelns.DefaultPath)
	}
	if c.Every == 0 {
		c.Every = defaultEvery
	}
	if c.MostPerSecond == 0 {
		c.MostPerSecond = defaultMost
	}
	if c.Probed == nil {
		c.Probed = func(mesh.Ref, bool, time.Duration) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Prober{cfg: c}
}

// Aim says from which address which peers are probed from now on. Of those that stay,
// what is known is kept; an address that is no IPv4 address is left out.
func (p *Prober) Aim(source netip.Addr, targets []Target) {
	usable := make([]Target, 0, len(targets))
	for _, t := range targets {
		if source.Is4() && t.Address.Is4() {
			usable = append(usable, t)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.source = source
	p.round.aim(usable, func(n int) int { return int(random(int64(n))) })
}

// Results are what is known of the peers that are probed.
func (p *Prober) Results() map[mesh.Ref]Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[mesh.Ref]Result, len(p.round.order))
	for _, a := range p.round.order {
		all[a.Ref] = a.window.result()
	}
	return all
}

// Run probes until ctx ends. It holds nothing of a namespace whose name is gone.
func (p *Prober) Run(ctx context.Context) error {
	return tunnelns.KeepWatching(ctx, p.cfg.Log, func(ctx context.Context) error {
		return p.cfg.Namespace.WhileSame(ctx, func() {}, p.probe)
	})
}

// probe probes in the namespace that there is.
func (p *Prober) probe(ctx context.Context) error {
	if !p.cfg.Namespace.Exists() {
		<-ctx.Done()
		return nil
	}
	var s *socket
	defer func() { s.close() }()
	said := ""
	for p.pause(ctx) {
		source, a := p.turn()
		if !a.Address.IsValid() {
			continue
		}
		if s != nil && s.source != source {
			s.close()
			s = nil
		}
		var err error
		if s == nil {
			if s, err = open(p.cfg.Namespace, p.cfg.Link, source); err == nil {
				go s.read(p.answered)
			}
		}
		if err == nil {
			err = s.send(a.Address, a.number, a.nonce)
		}
		if gone(err) {
			s.close()
			s = nil
		}
		if err != nil && err.Error() != said { // it counts as lost, like one that is dropped
			said = err.Error()
			p.cfg.Log.Debug("a probe could not be sent", "peer", a.Ref, "error", err)
		}
	}
	return nil
}

// turn is the next probe; without an address there is none.
func (p *Prober) turn() (source netip.Addr, next aimed) {
	var fresh nonce
	_, _ = rand.Read(fresh[:]) // never fails
	p.mu.Lock()
	defer p.mu.Unlock()
	a, lost := p.round.next(time.Now(), fresh)
	if a == nil {
		return p.source, aimed{}
	}
	if lost {
		p.cfg.Probed(a.Ref, false, 0)
	}
	return p.source, *a
}

func (p *Prober) answered(from netip.Addr, number uint16, n nonce) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a, took := p.round.answer(from, number, n, time.Now()); a != nil {
		p.cfg.Probed(a.Ref, true, took)
	}
}

// pause waits for the next turn; it tells whether ctx still goes on.
func (p *Prober) pause(ctx context.Context) bool {
	p.mu.Lock()
	wait := gap(len(p.round.order), p.cfg.Every, p.cfg.MostPerSecond)
	p.mu.Unlock()
	timer := time.NewTimer(wait*3/4 + time.Duration(random(int64(wait/2)))) // a quarter more or less
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// random is at least 0 and less than n.
func random(n int64) int64 {
	r, err := rand.Int(rand.Reader, big.NewInt(max(n, 1)))
	if err != nil {
		return 0
	}
	return r.Int64()
}

// gone tells of an error of sending that what the socket was made for is there no more.
func gone(err error) bool {
	for _, e := range []unix.Errno{unix.ENODEV, unix.ENXIO, unix.EINVAL, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// String says who is probed, for logs.
func (a aimed) String() string { return fmt.Sprintf("%s at %v", a.Ref, a.Address) }
