package controller

import (
	"context"
	"log/slog"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
)

// definitionRetry is how often it is seen whether kinds have become known.
const definitionRetry = 30 * time.Second

// whenDefined begins to watch when the API server knows these kinds of the Multi-Cluster
// Services API, in the background if need be: all else works without.
func whenDefined(mgr ctrl.Manager, log *slog.Logger, watch func(ctrl.Manager) error, kinds ...string) error {
	missing := func() string {
		for _, kind := range kinds {
			gvk := mcsv1alpha1.SchemeGroupVersion.WithKind(kind)
			if _, err := mgr.GetRESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version); err != nil {
				return kind
			}
		}
		return ""
	}
	kind := missing()
	if kind == "" {
		return watch(mgr)
	}
	log.Warn("this cluster has no such kind of multicluster.x-k8s.io/v1alpha1; run the deploy again to install its definition", "kind", kind)
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		tick := time.NewTicker(definitionRetry)
		defer tick.Stop()
		for missing() != "" {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
		return watch(mgr)
	}))
}
