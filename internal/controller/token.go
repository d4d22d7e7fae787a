package controller

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// tokenRetry is how soon a renewal that failed is tried again: half a token's life is
// left then, so there is time.
const tokenRetry = time.Minute

// tokens renews the access to other members when half its life is over.
type tokens struct {
	client.Client
	options  Options
	recorder *events.Recorder
	log      *slog.Logger
}

func (r *tokens) setup(mgr ctrl.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("token").
		For(&corev1.Secret{}).
		WithOptions(controller.Options{SkipNameValidation: new(true)}).
		Complete(r)
}

// Reconcile handles the Secret of that name.
func (r *tokens) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var s corev1.Secret
	if err := r.Get(ctx, req.NamespacedName, &s); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	cluster := s.Labels[v1alpha1.LabelCluster]
	if cluster == "" || s.Name != peeraccess.Name(cluster) {
		return reconcile.Result{}, nil
	}
	now := r.options.now()
	token, renewed, err := peeraccess.Renew(ctx, r.Client, &s, cluster, v1alpha1.ManagerController,
		peeraccess.Options{Expiration: r.options.TokenLife, Now: r.options.now})
	if err != nil {
		r.log.Warn("renew the access", "cluster", cluster, "err", peeraccess.PlainError(err))
		r.say(ctx, cluster, err)
		return reconcile.Result{RequeueAfter: tokenRetry}, nil
	}
	tokenExpiry.WithLabelValues(cluster).Set(float64(token.Expiry.Unix()))
	if renewed {
		r.log.Info("renewed the access", "cluster", cluster, "token", token.String())
	}
	return reconcile.Result{RequeueAfter: max(token.RenewAt().Sub(now), time.Second)}, nil
}

// say tells people that the access is not renewed, if there is such a member.
func (r *tokens) say(ctx context.Context, cluster string, err error) {
	var lc v1alpha1.LinkedCluster
	if r.Get(ctx, client.ObjectKey{Name: cluster}, &lc) == nil {
		r.recorder.Say(accessEvent(&lc, "AccessNotRenewed", true, fmt.Sprintf("the access to %s was not renewed; it is tried again: %s",
			cluster, peeraccess.PlainError(err))))
	}
}
