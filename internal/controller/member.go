package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// members starts and stops the watch of each other member, as its LinkedCluster and
// the Secret with the access come, change and go.
type members struct {
	client.Client
	options  Options
	remotes  *remotes
	mirrors  *notifier
	recorder *events.Recorder
	log      *slog.Logger
}

func (r *members) setup(mgr ctrl.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("member").
		For(&v1alpha1.LinkedCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(bySecret)).
		WithOptions(controller.Options{SkipNameValidation: new(true)}).
		Complete(r)
}

func bySecret(_ context.Context, o client.Object) []reconcile.Request {
	if cluster := o.GetLabels()[v1alpha1.LabelCluster]; cluster != "" {
		return []reconcile.Request{request(cluster)}
	}
	return nil
}

// Reconcile handles the member of that name.
func (r *members) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var lc v1alpha1.LinkedCluster
	err := r.Get(ctx, req.NamespacedName, &lc)
	switch {
	case apierrors.IsNotFound(err):
		r.remotes.drop(req.Name, nil)
		r.mirrors.notify(req.Name + allNodes) // they have to go
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, err
	case lc.Name == r.options.Cluster || lc.Spec.API == nil:
		r.remotes.drop(req.Name, nil)
		return reconcile.Result{}, nil
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: r.options.Namespace, Name: lc.Spec.API.Secret}
	if err := r.Get(ctx, key, &secret); apierrors.IsNotFound(err) {
		r.remotes.drop(lc.Name, fmt.Errorf("the Secret %s with label %s=%s is not there: run the deploy again", key, v1alpha1.LabelCluster, lc.Name))
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	cfg, token, err := peeraccess.RestConfig(&secret)
	if err != nil {
		r.remotes.drop(lc.Name, err)
		return reconcile.Result{}, nil
	}
	was := cmp.Or(r.remotes.life(lc.Name), lc.Status.Access) // that is of an earlier process
	r.remotes.live(lc.Name, token)
	if was != nil && !was.Expires.Time.Equal(token.Expiry) {
		r.recorder.Say(accessEvent(&lc, "AccessRenewed", false, fmt.Sprintf("%s is read with a new token, until %s",
			lc.Name, token.Expiry.UTC().Format(time.RFC3339))))
	}
	r.log.Info("watching a member", "cluster", lc.Name, "server", cfg.Host, "token", token.String())
	return reconcile.Result{}, r.remotes.ensure(lc.Name, string(secret.UID)+"/"+secret.ResourceVersion, cfg)
}
