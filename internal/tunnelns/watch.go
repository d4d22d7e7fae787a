package tunnelns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
// links or main routes, or the namespace's name changes. A sysctl changed by hand makes
// no event: that is left to the next Apply, at the latest the agent's regular one.
func (p *Part) Watch(ctx context.Context, notify func()) error {
	every := func(Event) { notify() }
	return KeepWatching(ctx, p.cfg.Log, func(ctx context.Context) error {
		return p.cfg.Namespace.WhileSame(ctx, notify,
			func(ctx context.Context) error {
				return p.cfg.Node.Listen(ctx, unix.NETLINK_ROUTE, RouteGroups, func(e Event) {
					if p.concernsNode(e) {
						notify()
					}
				})
			},
			p.inside(unix.NETLINK_ROUTE, RouteGroups, every),
			p.inside(unix.NETLINK_NETFILTER, []uint32{NfTables}, func(e Event) {
				if p.concernsClamp(e) {
					notify()
				}
			}),
		)
	})
}

// inside listens in the namespace as long as there is one.
func (p *Part) inside(family int, groups []uint32, event func(Event)) func(context.Context) error {
	return func(ctx context.Context) error {
		if !p.cfg.Namespace.Exists() {
			<-ctx.Done()
			return nil
		}
		return p.cfg.Namespace.Listen(ctx, family, groups, event)
	}
}

// KeepWatching runs watch again and again until ctx ends, with a pause after an error. An
// error that only comes again is not logged again.
func KeepWatching(ctx context.Context, log *slog.Logger, watch func(context.Context) error) error {
	said := ""
	for {
		began := time.Now()
		err := watch(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // a watch that ends with its context has not failed
		}
		if err == nil {
			continue
		}
		if err.Error() != said || time.Since(began) > retryWatch {
			log.Warn("a watch broke and is set up again", "error", err)
			said = err.Error()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryWatch):
		}
	}
}

// WhileSame runs watchers until ctx ends, one fails, or the name of the namespace
// comes, goes or is bound to another one; then it ends them, so that they hold nothing
// of the old one open, calls notify and returns.
func (n Namespace) WhileSame(ctx context.Context, notify func(), watchers ...func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	names, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the names of namespaces: %w", err)
	}
	defer names.Close()
	dir := filepath.Dir(n.path)
	if err := errors.Join(os.MkdirAll(dir, 0o755), names.Add(dir)); err != nil {
		return fmt.Errorf("watch %s: %w", dir, err)
	}
	before := n.Identity()
	g, inner := errgroup.WithContext(inner)
	g.Go(func() error {
		defer cancel()
		for n.Identity() == before {
			select {
			case <-inner.Done():
				return nil
			case <-names.Events:
			case err := <-names.Errors:
				return fmt.Errorf("watch %s: %w", dir, err)
			}
		}
		return nil
	})
	for _, watch := range watchers {
		g.Go(func() error { return watch(inner) })
	}
	err = g.Wait()
	notify()
	return err
}

// Identity tells namespaces apart that bear the same name one after the other.
func (n Namespace) Identity() [2]uint64 {
	var st unix.Stat_t
	if !n.Exists() || unix.Stat(n.path, &st) != nil {
		return [2]uint64{}
	}
	return [2]uint64{st.Dev, st.Ino}
}

// concernsClamp leaves out the tables of others, such as the service proxy's, which
// changes with every pod behind a service.
func (p *Part) concernsClamp(e Event) bool {
	family, table, ok := e.RulesetTable()
	return e.Type == 0 || ok && family == unix.NFPROTO_INET && table == Table
}

// concernsNode leaves out what pods' comings and goings cause: veth links of others, and
// neighbours. A veth by which the underlay is reached, as in nodes that are containers, is
// not left out.
func (p *Part) concernsNode(e Event) bool {
	switch e.Type {
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return false
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		name, kind := linkOf(e)
		return kind != "veth" || name == p.cfg.Outside || p.looksAt(e)
	}
	return true
}

// looksAt tells whether the link of an event is one whose MTU counts.
func (p *Part) looksAt(e Event) bool {
	if len(e.Data) < unix.SizeofIfInfomsg {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looked[int(int32(binary.NativeEndian.Uint32(e.Data[4:])))] // ifi_index
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

// LinkName is the link's name in an RTM_NEWLINK or RTM_DELLINK, empty in other events.
func (e Event) LinkName() string {
	if e.Type != unix.RTM_NEWLINK && e.Type != unix.RTM_DELLINK {
		return ""
	}
	name, _ := linkOf(e)
	return name
}
