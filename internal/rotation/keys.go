package rotation

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// undefined tells that a cluster does not have the definition of what was asked for.
func undefined(err error) bool {
	return meta.IsNoMatchError(err) || apierrors.IsNotFound(err)
}

// pause is the wait between two looks at an object.
const pause = 200 * time.Millisecond

// Member is a cluster of the mesh. API is its Side's client, which can do more.
type Member struct {
	peeraccess.Side
	API client.Client
}

// Options say whose keys are replaced.
type Options struct {
	// Members are all clusters of the mesh: all of them have to hear of a new key.
	Members []Member
	// Cluster and Node, where they are not empty, are the only ones. A node can be given as
	// <cluster>.<node>.
	Cluster, Node string
	// AtOnce is how many nodes are done at a time.
	AtOnce int
	// Timeout bounds one node.
	Timeout time.Duration
	// Say gets a line for each node.
	Say func(format string, args ...any)
}

// errRemoved: a node's object went while its key was to be replaced.
var errRemoved = errors.New("the node was removed meanwhile")

// Keys replaces the nodes' keys. One that fails does not keep it from the rest, and one of
// many that is removed meanwhile is no failure.
func Keys(ctx context.Context, o Options) error {
	nodes, err := o.nodes(ctx)
	if err != nil {
		return err
	}
	var removed atomic.Int32
	var group errgroup.Group
	group.SetLimit(max(o.AtOnce, 1))
	errs := make([]error, len(nodes))
	for i, n := range nodes {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, o.Timeout)
			defer cancel()
			errs[i] = o.replace(ctx, n)
			if errors.Is(errs[i], errRemoved) && len(nodes) > 1 {
				removed.Add(1)
				o.Say("%s: %v: it needs no new key", n.Name, errs[i])
				errs[i] = nil
			}
			if errs[i] != nil {
				o.Say("%s: %v", n.Name, errs[i])
				errs[i] = fmt.Errorf("%s: %w", n.Name, errs[i])
			}
			return nil
		})
	}
	_ = group.Wait() // each has its own
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d nodes have no new key: %w", len(failed), len(nodes), errors.Join(failed...))
	}
	o.Say("%d nodes have new keys", len(nodes)-int(removed.Load()))
	return nil
}

// nodes are those that are meant, cluster by cluster.
func (o *Options) nodes(ctx context.Context) ([]v1alpha1.TunnelNode, error) {
	cluster, node := o.Cluster, o.Node
	if c, n, ok := strings.Cut(node, "."); ok && cluster == "" && o.side(c) != nil {
		cluster, node = c, n
	}
	if cluster != "" && o.side(cluster) == nil {
		return nil, fmt.Errorf("the inventory has no cluster %q", cluster)
	}
	var found []v1alpha1.TunnelNode
	for _, m := range o.Members {
		if cluster != "" && m.Cluster != cluster {
			continue
		}
		var list v1alpha1.TunnelNodeList
		switch err := m.Client.List(ctx, &list); {
		case undefined(err):
			return nil, fmt.Errorf("cluster %s: sdn-tunnel is not deployed there: run the deploy", m.Cluster)
		case err != nil:
			return nil, fmt.Errorf("cluster %s: list its nodes: %w", m.Cluster, err)
		}
		for _, n := range list.Items {
			if n.Spec.Cluster == m.Cluster && (node == "" || node == n.Spec.Node) {
				found = append(found, n)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no TunnelNode %s: kubectl get tunnelnodes shows those there are", strings.TrimPrefix(cluster+"."+node, "."))
	}
	return found, nil
}

func (o *Options) side(cluster string) *Member {
	for i := range o.Members {
		if o.Members[i].Cluster == cluster {
			return &o.Members[i]
		}
	}
	return nil
}

// replace has one node make a new key, and waits until all clusters and peers know it.
func (o *Options) replace(ctx context.Context, n v1alpha1.TunnelNode) error {
	home, began, request := o.side(n.Spec.Cluster), time.Now(), rand.Text()
	if err := annotate(ctx, home, n.Name, request); err != nil {
		return err
	}
	now, err := answered(ctx, home, n, request)
	if err != nil {
		return errors.Join(err, withdraw(home, n.Name, request))
	}
	made := time.Since(began)
	var known []string
	for _, m := range o.Members {
		if m.Cluster == n.Spec.Cluster {
			continue
		}
		if err := mirrored(ctx, home, m, now); err != nil {
			return err
		}
		known = append(known, m.Cluster)
	}
	confirmed, up, err := confirmed(ctx, home, now)
	if err != nil {
		return err
	}
	o.Say("%s: new key after %.1f s, known in %s; %d of %d peers have answered to it after %.1f s", n.Name,
		made.Seconds(), strings.Join(known, ", "), confirmed, up, time.Since(began).Seconds())
	return nil
}

func annotate(ctx context.Context, home *Member, name, request string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationRotateKey, request)
	n := &v1alpha1.TunnelNode{}
	n.Name = name
	err := home.API.Patch(ctx, n, client.RawPatch("application/merge-patch+json", []byte(patch)))
	if apierrors.IsNotFound(err) {
		return errRemoved
	}
	if err != nil {
		return fmt.Errorf("ask for a new key: %w", err)
	}
	return nil
}

// withdraw takes a request back that was not answered, so that no agent answers it later.
func withdraw(home *Member, name, request string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	patch := fmt.Sprintf(`[{"op":"test","path":"/metadata/annotations/%[1]s","value":%[2]q},{"op":"remove","path":"/metadata/annotations/%[1]s"}]`,
		strings.ReplaceAll(v1alpha1.AnnotationRotateKey, "/", "~1"), request)
	n := &v1alpha1.TunnelNode{}
	n.Name = name
	err := home.API.Patch(ctx, n, client.RawPatch("application/json-patch+json", []byte(patch)))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) {
		return fmt.Errorf("take the request back: %w", err)
	}
	return nil
}

// current reads a node in its own cluster, as long as it is the one of before.
func current(ctx context.Context, home *Member, before *v1alpha1.TunnelNode) (*v1alpha1.TunnelNode, error) {
	n := &v1alpha1.TunnelNode{}
	err := home.Client.Get(ctx, client.ObjectKey{Name: before.Name}, n)
	if apierrors.IsNotFound(err) || err == nil && n.UID != before.UID {
		return nil, errRemoved
	}
	if err != nil {
		return nil, fmt.Errorf("read TunnelNode %s: %w", before.Name, err)
	}
	return n, nil
}

// answered waits until the agent has answered the request, and gives the node then.
func answered(ctx context.Context, home *Member, before v1alpha1.TunnelNode, request string) (n *v1alpha1.TunnelNode, err error) {
	last := ""
	err = until(ctx, func() (bool, error) {
		now, err := current(ctx, home, &before)
		if err != nil {
			return false, err
		}
		n = now
		key := n.Status.Key
		switch {
		case key == nil && n.Status.AgentVersion != "":
			last = fmt.Sprintf("its agent, of version %s, replaces no keys: upgrade it", n.Status.AgentVersion)
			return false, nil
		case key == nil || key.Failure == "":
			last = "its agent does not answer: is it running?"
		default:
			last = key.Failure
		}
		done := key != nil && key.Request == request
		if done && key.Failure != "" {
			return false, errors.New(key.Failure)
		}
		return done && n.Spec.PublicKey != before.Spec.PublicKey, nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return n, err
}

// mirrored waits until another cluster has the node's key.
func mirrored(ctx context.Context, home *Member, m Member, now *v1alpha1.TunnelNode) error {
	err := until(ctx, func() (bool, error) {
		if _, err := current(ctx, home, now); err != nil {
			return false, err
		}
		var mirror v1alpha1.TunnelNode
		err := m.Client.Get(ctx, client.ObjectKey{Name: now.Name}, &mirror)
		return err == nil && mirror.Spec.PublicKey == now.Spec.PublicKey, client.IgnoreNotFound(err)
	})
	if err != nil && !errors.Is(err, errRemoved) {
		return fmt.Errorf("cluster %s has not heard of the new key: %w", m.Cluster, err)
	}
	return err
}

// confirmed waits until as many peers have answered to the key as are up.
func confirmed(ctx context.Context, home *Member, now *v1alpha1.TunnelNode) (have, want int32, err error) {
	err = until(ctx, func() (bool, error) {
		n, err := current(ctx, home, now)
		if err != nil || n.Status.Key == nil || n.Status.Peers == nil {
			return false, err
		}
		have, want = n.Status.Key.Confirmed, n.Status.Peers.Up
		return have >= want, nil
	})
	if err != nil && !errors.Is(err, errRemoved) {
		err = fmt.Errorf("%d of %d peers have answered to the new key: %w", have, want, err)
	}
	return have, want, err
}

func until(ctx context.Context, ok func() (bool, error)) error {
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}
