package peeraccess

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/spelling"
)

// Known is an error unless one of the clusters has a trace of the peer, so that a name that
// was misspelt is not taken for one that is gone. Part of a trace does: an earlier run may
// have been interrupted.
func Known(ctx context.Context, sides []Side, peer string) error {
	var asked, members []string
	for _, s := range sides {
		traces, err := s.traces(ctx, peer)
		if err != nil {
			return fmt.Errorf("cluster %s: what it has of %s: %w", s.Cluster, peer, err)
		}
		if traces {
			return nil
		}
		var links v1alpha1.LinkedClusterList
		if err := s.Client.List(ctx, &links); err != nil && !meta.IsNoMatchError(err) {
			return fmt.Errorf("cluster %s: list LinkedClusters: %w", s.Cluster, err)
		}
		for i := range links.Items {
			members = append(members, links.Items[i].Name)
		}
		asked = append(asked, s.Cluster)
	}
	slices.Sort(members)
	members = slices.Compact(members)
	said := fmt.Sprintf("there is no cluster %s to forget: no LinkedCluster, TunnelNode, Secret, ServiceAccount or name of it is in %s; nothing was changed",
		peer, strings.Join(asked, ", "))
	if near := spelling.Nearest(peer, members); near != "" {
		return fmt.Errorf("%s; did you mean %s?", said, near)
	}
	if len(members) > 0 {
		said += "; linked are " + strings.Join(members, ", ")
	}
	return errors.New(said)
}

// traces tells whether the cluster has anything of a peer.
func (s Side) traces(ctx context.Context, peer string) (bool, error) {
	named := metav1.ObjectMeta{Namespace: s.Namespace, Name: Name(peer)}
	for _, o := range []client.Object{
		&v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: peer}},
		&corev1.Secret{ObjectMeta: named}, &corev1.ServiceAccount{ObjectMeta: named},
	} {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(o), o)
		if err == nil {
			return true, nil
		}
		if client.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err) {
			return false, err
		}
	}
	var nodes v1alpha1.TunnelNodeList
	err := s.Client.List(ctx, &nodes, client.MatchingLabels{v1alpha1.LabelCluster: peer}, client.Limit(1))
	if len(nodes.Items) > 0 || err != nil && !meta.IsNoMatchError(err) {
		return len(nodes.Items) > 0, err
	}
	return s.served(ctx, peer)
}

// served tells whether the name servers still read the peer: its names go last.
func (s Side) served(ctx context.Context, peer string) (bool, error) {
	var workloads appsv1.DeploymentList
	if err := s.Client.List(ctx, &workloads, client.InNamespace(s.Namespace)); err != nil {
		return false, err
	}
	for i := range workloads.Items {
		for _, v := range workloads.Items[i].Spec.Template.Spec.Volumes {
			if v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(p corev1.VolumeProjection) bool {
				return p.Secret != nil && p.Secret.Name == Name(peer)
			}) {
				return true, nil
			}
		}
	}
	return false, nil
}
