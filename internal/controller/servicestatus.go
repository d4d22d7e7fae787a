package controller

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/catalog"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// servicesOf is the condition ServicesSynced of another member, and its metrics.
func (r *status) servicesOf(lc *v1alpha1.LinkedCluster, reachable metav1.Condition) metav1.Condition {
	s := r.services.tally.of(lc.Name)
	lc.Status.Services = int32(s.mirrored)
	servicesKnown.WithLabelValues(lc.Name).Set(float64(s.mirrored))
	serviceSlices.WithLabelValues(lc.Name).Set(float64(s.slices))
	endpointsLeftOut.WithLabelValues(lc.Name).Set(float64(s.leftOut))
	if len(s.refused) > 0 {
		refusedObjects.WithLabelValues(lc.Name, "ServiceNotMirrored").Set(float64(len(s.refused)))
	}
	var known catalog.State
	remote, _ := r.remotes.get(lc.Name)
	if remote != nil && remote.catalog != nil {
		if known = remote.catalog.State(); known.Err != nil {
			known.Err = remote.explain(known.Err)
		}
	}
	c, stale := servicesSynced(lc.Name, s, known, reachable)
	servicesStale.WithLabelValues(lc.Name).Set(0)
	if stale {
		servicesStale.WithLabelValues(lc.Name).Set(1)
	}
	return c
}

// servicesSynced judges; stale: the mirrors may be older than what the member says.
func servicesSynced(cluster string, s sum, known catalog.State, reachable metav1.Condition) (c metav1.Condition, stale bool) {
	no := func(reason, format string, args ...any) metav1.Condition {
		return condition(v1alpha1.ConditionServicesSynced, false, reason, fmt.Sprintf(format, args...))
	}
	const kept = "the mirrored services are kept as they were last seen"
	switch {
	case reachable.Status == metav1.ConditionFalse:
		return no(reachable.Reason, kept), true
	case known.Err != nil:
		return no("Stale", "%s: %s", kept, peeraccess.PlainError(known.Err)), true
	case reachable.Status != metav1.ConditionTrue || !known.Complete:
		return metav1.Condition{Type: v1alpha1.ConditionServicesSynced, Status: metav1.ConditionUnknown, Reason: "Connecting", Message: "no answer yet"}, true
	case !known.Synced:
		return no("NotDeclared", "%s has no LinkedCluster of itself that says what it shares, and %s: run the deploy again", cluster, kept), true
	case known.TooMany > 0:
		return no("TooMany", "%s has more than %d services, or more than %d MiB of them: %d objects or more are not mirrored; share fewer with spec.exportPolicy Exported there",
			cluster, catalog.MaxServices, catalog.MaxBytes>>20, known.TooMany), false
	case len(s.refused) > 0:
		return no("Refused", "%d services are not mirrored, all others are: %s", len(s.refused), few(s.refused)), false
	case s.mirrored != known.Shared:
		return no("Copying", "the mirrors of some services are being written"), false
	}
	what := "all services are shared"
	switch {
	case known.Policy == v1alpha1.ExportExported:
		what = "services with a ServiceExport are shared"
	case known.ExportedOnly:
		what = "all services are shared; those with a ServiceExport are mirrored, as nothing here balances the others"
	}
	if s.leftOut > 0 {
		what += fmt.Sprintf("; %d endpoints outside of the member's pod networks are left out, as those of hostNetwork pods cannot be reached", s.leftOut)
	}
	return condition(v1alpha1.ConditionServicesSynced, true, "Synced", what), false
}
