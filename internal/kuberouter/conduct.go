package kuberouter

import (
	"context"
	"maps"
)

// player is a kube-router that runs.
type player struct {
	key   instanceKey
	end   context.CancelFunc
	ended chan struct{}
}

// conduct keeps those kube-routers running that are wanted, until ctx ends.
func (p *Part) conduct(ctx context.Context, notify func()) {
	players := map[string]player{}
	for {
		p.mu.Lock()
		wanted := maps.Clone(p.wanted)
		p.mu.Unlock()
		for member, is := range players {
			if key, ok := wanted[member]; !ok || key != is.key {
				p.stop(member, is)
				delete(players, member)
			}
		}
		for member, key := range wanted {
			if _, runs := players[member]; runs {
				continue
			}
			if v, ok := p.view(member); ok {
				players[member] = p.start(ctx, member, key, v, notify)
			}
		}
		select {
		case <-ctx.Done():
			for member, is := range players {
				p.stop(member, is)
			}
			return
		case <-p.turn:
		case <-p.changed:
		}
	}
}

func (p *Part) start(ctx context.Context, member string, key instanceKey, v *view, notify func()) player {
	h := newHealth(member, notify)
	p.mu.Lock()
	p.health[member] = h
	p.mu.Unlock()
	i := &instance{
		room: newRoom(p.cfg.Namespace, member), view: v, health: h, path: p.cfg.Program,
		server: server{view: v, node: nodeObject(key.node, key.address.String())},
		log:    p.cfg.Log.With("member", member),
	}
	ctx, end := context.WithCancel(ctx)
	is := player{key: key, end: end, ended: make(chan struct{})}
	go func() {
		defer close(is.ended)
		i.run(ctx)
	}()
	return is
}

func (p *Part) stop(member string, is player) {
	is.end()
	<-is.ended
	p.mu.Lock()
	delete(p.health, member)
	p.mu.Unlock()
}
