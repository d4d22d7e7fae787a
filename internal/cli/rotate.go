package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/deploylock"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rotation"
	"github.com/sdn-tunnel/sdn-tunnel/internal/verify"
)

func rotateCommand(files fs.FS) *ucli.Command {
	only := &ucli.StringFlag{Name: "cluster", Usage: "only this `CLUSTER`"}
	return &ucli.Command{
		Name: "rotate", Usage: "replace keys of nodes, or the clusters' access to each other",
		Subcommands: []*ucli.Command{
			{
				Name: "keys", Usage: "have nodes make new WireGuard keys, while traffic goes on",
				Description: `   sdn-tunnel rotate keys -i inventory
   sdn-tunnel rotate keys -i inventory --cluster east
   sdn-tunnel rotate keys -i inventory --node east.east-1

Each node is waited for: its new key, all other clusters that must know it, and the peers
that answer to it. The variable key_max_age does the same on a schedule.`,
				Flags: append(inventoryFlags(), only,
					&ucli.StringFlag{Name: "node", Usage: "only this `NODE`, east-1 or east.east-1"},
					&ucli.IntFlag{Name: "at-once", Value: 1, Usage: "`NUMBER` of nodes at a time"},
					&ucli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "how long one node may take"}),
				Action: func(c *ucli.Context) error { return rotate(c, files, "", rotation.Keys) },
			},
			{
				Name: "credentials", Usage: "give the clusters new tokens for each other; all former ones are void",
				Description: "   sdn-tunnel rotate credentials -i inventory\n   sdn-tunnel rotate credentials -i inventory --cluster west   those of west and for west",
				Flags: append(inventoryFlags(), only,
					&ucli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "how long one pair of clusters may take"}),
				Action: func(c *ucli.Context) error { return rotate(c, files, "rotate credentials", rotation.Credentials) },
			},
		},
	}
}

// rotate has the members of an inventory do something. A verb, if there is one, keeps runs
// apart that change the same objects.
func rotate(c *ucli.Context, files fs.FS, verb string, do func(context.Context, rotation.Options) error) error {
	inv, members, done, err := open(c, files)
	if err != nil {
		return err
	}
	defer done()
	var mu sync.Mutex
	o := rotation.Options{
		Cluster: c.String("cluster"), Node: c.String("node"), AtOnce: c.Int("at-once"), Timeout: c.Duration("timeout"),
		Say: func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(c.App.Writer, format+"\n", args...)
		},
	}
	namespace := inv.String("namespace", verify.DefaultTunnelNamespace)
	for _, m := range members {
		member, err := memberOf(m, namespace)
		if err != nil {
			return fmt.Errorf("cluster %s: %w", m.name, err)
		}
		o.Members = append(o.Members, member)
	}
	if verb == "" {
		return do(c.Context, o)
	}
	return alone(c.Context, members, namespace, verb, func(ctx context.Context) error { return do(ctx, o) })
}

// alone does something under the members' locks, as a deploy does. It ends when one of them
// is lost, and the error says whose it is then.
func alone(ctx context.Context, members []member, namespace, verb string, do func(context.Context) error) error {
	var places []deploylock.Place
	for _, m := range members {
		api, err := kubernetes.NewForConfig(m.access.Config)
		if err != nil {
			return fmt.Errorf("cluster %s: %w", m.name, err)
		}
		places = append(places, deploylock.Place{Cluster: m.name, Namespace: namespace, Client: api})
	}
	held, release, err := deploylock.Hold(ctx, places, deploylock.Me(verb))
	if err != nil {
		return err
	}
	if err = do(held); err != nil {
		// By itself it would say no more than that it was interrupted, and what that leaves.
		return errors.Join(release(), err)
	}
	_ = release() // a lock that was lost in the end kept nothing from being done
	return nil
}

func memberOf(m member, namespace string) (rotation.Member, error) {
	scheme := runtime.NewScheme()
	kinds := runtime.NewSchemeBuilder(corev1.AddToScheme, rbacv1.AddToScheme, authenticationv1.AddToScheme, v1alpha1.AddToScheme)
	if err := kinds.AddToScheme(scheme); err != nil {
		return rotation.Member{}, err
	}
	api, err := client.New(m.access.Config, client.Options{Scheme: scheme})
	if err != nil {
		return rotation.Member{}, err
	}
	server, err := peeraccess.ServerOf(m.access.Config)
	return rotation.Member{Side: peeraccess.Side{Cluster: m.name, Namespace: namespace, Client: api, Server: server}, API: api}, err
}
