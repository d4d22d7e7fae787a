// The Ansible module sdn_dns_plan: the names of a mesh, as one cluster serves them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsplan"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// Args are the module's arguments.
type Args struct {
	Cluster        string         `arg:"cluster,required"`
	LinkedClusters []any          `arg:"linked_clusters"`
	Access         cluster.Access `arg:"access"`
	ClusterDomain  string         `arg:"cluster_domain" default:"cluster.local"`
	ClusterSet     bool           `arg:"clusterset" default:"false"`
	Extra          string         `arg:"extra"`
}

// Validate wants the members from somewhere.
func (a *Args) Validate() error {
	if len(a.LinkedClusters) == 0 && a.Access == (cluster.Access{}) {
		return errors.New("linked_clusters or access: one must be given")
	}
	return nil
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, _ module.Call, args Args) (module.Result, error) {
	objects, err := args.objects(ctx)
	if err != nil {
		return module.Result{}, err
	}
	if len(objects) == 0 {
		return module.Result{Data: map[string]any{"corefile": "", "hash": "", "zones": []string{}, "peers": []string{}}}, nil
	}
	clusters, err := dnsplan.FromObjects(objects)
	if err != nil {
		return module.Result{}, err
	}
	plan, err := dnsplan.Make(clusters, dnsplan.Options{
		Self: args.Cluster, ClusterDomain: args.ClusterDomain, ClusterSet: args.ClusterSet, Extra: args.Extra,
	})
	if err != nil {
		return module.Result{}, err
	}
	peers := make([]map[string]string, 0, len(plan.Peers))
	for _, p := range plan.Peers {
		peers = append(peers, map[string]string{"name": p, "secret": peeraccess.Name(p)})
	}
	return module.Result{Data: map[string]any{
		"corefile": plan.Corefile, "hash": plan.Hash, "zones": plan.Zones, "peers": peers,
	}}, nil
}

// objects are the members: those given, else those that the cluster's API has, which are
// none where nothing is deployed.
func (a *Args) objects(ctx context.Context) (_ []v1alpha1.LinkedCluster, err error) {
	if len(a.LinkedClusters) > 0 {
		raw, err := json.Marshal(a.LinkedClusters)
		if err != nil {
			return nil, fmt.Errorf("linked_clusters: %w", err)
		}
		var objects []v1alpha1.LinkedCluster
		if err := json.Unmarshal(raw, &objects); err != nil {
			return nil, fmt.Errorf("linked_clusters: %w; they are what sdn_mesh_plan returns", err)
		}
		return objects, nil
	}
	acc, err := a.Access.Open(ctx, a.Cluster)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, acc.Close(ctx)) }()
	c, err := cluster.Client(acc)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", a.Cluster, err)
	}
	var list v1alpha1.LinkedClusterList
	if err := c.List(ctx, &list); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("cluster %s: list the LinkedClusters: %w", a.Cluster, err)
	}
	leaving := func(o v1alpha1.LinkedCluster) bool { return o.DeletionTimestamp != nil }
	return slices.DeleteFunc(list.Items, leaving), nil
}
