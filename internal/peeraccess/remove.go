package peeraccess

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Remembered is how long after Revoke API servers may take a token of the account for
// valid: they remember for ten seconds what they have found to be valid (a constant of
// kube-apiserver), and hear of the account's end a little later. It matters only where
// rights are given to an account of that name again.
const Remembered = 11 * time.Second

// Revoke takes away what a peer may do in a cluster: first its rights, so that API servers
// refuse all that it asks for from then on, then its account, so that its tokens are void.
//
// A watch that is open ends when its client says so or the API server does; Kubernetes
// checks rights and tokens when a request begins, and never again.
func Revoke(ctx context.Context, from Side, peer string, o Options) ([]ssa.Change, error) {
	meta := metav1.ObjectMeta{Namespace: from.Namespace, Name: Name(peer)}
	global := metav1.ObjectMeta{Name: Name(peer)}
	return remove(ctx, from, o,
		named{"RoleBinding", &rbacv1.RoleBinding{ObjectMeta: meta}},
		named{"Role", &rbacv1.Role{ObjectMeta: meta}},
		named{"ClusterRoleBinding", &rbacv1.ClusterRoleBinding{ObjectMeta: global}},
		named{"ServiceAccount", &corev1.ServiceAccount{ObjectMeta: meta}})
}

// Forget removes the Secret by which a cluster reads a peer.
func Forget(ctx context.Context, to Side, peer string, o Options) ([]ssa.Change, error) {
	return remove(ctx, to, o, named{"Secret", &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: to.Namespace, Name: Name(peer)}}})
}

// RemoveAll revokes every peer of a cluster, forgets every peer that it reads, and
// removes the shared ClusterRole.
func RemoveAll(ctx context.Context, side Side, o Options) ([]ssa.Change, error) {
	var changes []ssa.Change
	mine := []client.ListOption{client.InNamespace(side.Namespace), client.HasLabels{"sdntunnel.io/cluster"},
		client.MatchingLabels{"app.kubernetes.io/name": "sdn-tunnel"}}
	var accounts corev1.ServiceAccountList
	if err := side.Client.List(ctx, &accounts, mine...); err != nil {
		return nil, fmt.Errorf("cluster %s: list the peers' accounts: %w", side.Cluster, err)
	}
	for i := range accounts.Items {
		peer := accounts.Items[i].Labels["sdntunnel.io/cluster"]
		removed, err := Revoke(ctx, side, peer, o)
		changes = append(changes, removed...)
		if err != nil {
			return changes, err
		}
	}
	var secrets corev1.SecretList
	if err := side.Client.List(ctx, &secrets, mine...); err != nil {
		return changes, fmt.Errorf("cluster %s: list the peers' Secrets: %w", side.Cluster, err)
	}
	for i := range secrets.Items {
		removed, err := Forget(ctx, side, secrets.Items[i].Labels["sdntunnel.io/cluster"], o)
		changes = append(changes, removed...)
		if err != nil {
			return changes, err
		}
	}
	removed, err := remove(ctx, side, o, named{"ClusterRole", &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: clusterRole}}})
	return append(changes, removed...), err
}

type named struct {
	kind string
	obj  client.Object
}

// remove deletes what is there; what is not there is no change.
func remove(ctx context.Context, side Side, o Options, objects ...named) ([]ssa.Change, error) {
	var changes []ssa.Change
	for _, n := range objects {
		change := ssa.Change{Verb: ssa.Delete, Kind: n.kind, Namespace: n.obj.GetNamespace(), Name: n.obj.GetName()}
		err := side.Client.Get(ctx, client.ObjectKeyFromObject(n.obj), n.obj)
		if err == nil && !o.DryRun {
			err = side.Client.Delete(ctx, n.obj)
		}
		if client.IgnoreNotFound(err) != nil {
			return changes, fmt.Errorf("cluster %s: %s: %w", side.Cluster, change, err)
		}
		if err == nil {
			changes = append(changes, change)
		}
	}
	return changes, nil
}
