package tunnelns

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/mdlayher/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// retryWatch is how long a watch that failed waits before it is set up again.
const retryWatch = time.Second

// Watch calls notify when a link, address, route or rule of the namespace, the node's
// links or main routes, or the namespace's name changes.
func (p *Part) Watch(ctx context.Context, notify func()) error {
	for {
		err := p.watchOnce(ctx, notify)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			p.cfg.Log.Warn("watch of the tunnel namespace broke; setting it up again", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(retryWatch):
			}
		}
		notify()
	}
}

// watchOnce watches one life of the namespace: it returns when its name comes or goes,
// and holds nothing of it open then.
func (p *Part) watchOnce(ctx context.Context, notify func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer cancel()
		return p.watchName(ctx)
	})
	g.Go(func() error {
		return p.cfg.Node.Listen(ctx, unix.NETLINK_ROUTE, RouteGroups, func(e Event) {
			if p.concernsNode(e) {
				notify()
			}
		})
	})
	if p.cfg.Namespace.Exists() {
		every := func(Event) { notify() }
		g.Go(func() error { return p.cfg.Namespace.Listen(ctx, unix.NETLINK_ROUTE, RouteGroups, every) })
		g.Go(func() error { return p.cfg.Namespace.Listen(ctx, unix.NETLINK_NETFILTER, []uint32{NfTables}, every) })
	}
	return g.Wait()
}

// watchName returns when the name of the namespace is removed or bound anew.
func (p *Part) watchName(ctx context.Context) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the names of namespaces: %w", err)
	}
	defer w.Close()
	dir := filepath.Dir(p.cfg.Namespace.path)
	if err := w.Add(dir); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.renewed:
			return nil
		case e := <-w.Events:
			if e.Name == p.cfg.Namespace.path && e.Has(fsnotify.Remove|fsnotify.Rename) {
				return nil
			}
		case err := <-w.Errors:
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
}

// concernsNode leaves out what pods' comings and goings cause: veth links of others,
// and neighbours.
func (p *Part) concernsNode(e Event) bool {
	switch e.Type {
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return false
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		name, kind := linkOf(e)
		return kind != "veth" || name == p.cfg.Outside
	}
	return true
}

// linkOf reads a link's name and kind from an RTM_NEWLINK or RTM_DELLINK.
func linkOf(e Event) (name, kind string) {
	if len(e.Data) < unix.SizeofIfInfomsg {
		return "", ""
	}
	ad, err := netlink.NewAttributeDecoder(e.Data[unix.SizeofIfInfomsg:])
	if err != nil {
		return "", ""
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			name = ad.String()
		case unix.IFLA_LINKINFO:
			ad.Nested(func(info *netlink.AttributeDecoder) error {
				for info.Next() {
					if info.Type() == unix.IFLA_INFO_KIND {
						kind = info.String()
					}
				}
				return nil
			})
		}
	}
	return name, kind
}
