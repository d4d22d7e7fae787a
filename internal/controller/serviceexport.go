package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// exports tells of each ServiceExport of the own cluster whether it is valid: whether
// there is such a service, and one that can be exported (KEP-1645).
type exports struct {
	client.Client
	log *slog.Logger
}

func (r *exports) setup(mgr ctrl.Manager) error {
	return whenDefined(mgr, r.log, r.watch, mcsv1alpha1.ServiceExportKindName)
}

func (r *exports) watch(mgr ctrl.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("export").
		For(&mcsv1alpha1.ServiceExport{}).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.byService)).
		WithOptions(controller.Options{SkipNameValidation: new(true)}).
		Complete(r)
}

func (r *exports) byService(ctx context.Context, o client.Object) []reconcile.Request {
	var export mcsv1alpha1.ServiceExport
	if err := r.Get(ctx, client.ObjectKeyFromObject(o), &export); err != nil {
		return nil // there is none; one that comes is seen by itself
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}
}

// Reconcile handles the ServiceExport of that name.
func (r *exports) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var export mcsv1alpha1.ServiceExport
	if err := r.Get(ctx, req.NamespacedName, &export); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	service := &corev1.Service{}
	if err := r.Get(ctx, req.NamespacedName, service); apierrors.IsNotFound(err) {
		service = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read Service %s: %w", req, err)
	}
	return reconcile.Result{}, tell(ctx, r.Client, &export, v1alpha1.ManagerExports, saying{validity(req.String(), service), sameValidity})
}

// saying is a condition that there is to tell. same tells whether one that is there says
// that already.
type saying struct {
	want metav1.Condition
	same func(is, want metav1.Condition) bool
}

// tell puts conditions into an export's status, all of them of one field manager, unless
// they are said already.
func tell(ctx context.Context, c client.Client, e *mcsv1alpha1.ServiceExport, manager string, all ...saying) error {
	var conditions []any
	said := true
	for _, s := range all {
		want := s.want
		want.LastTransitionTime = metav1.Now()
		if is := meta.FindStatusCondition(e.Status.Conditions, want.Type); is == nil || is.Status != want.Status {
			said = false
		} else {
			said = said && s.same(*is, want)
			want.LastTransitionTime = is.LastTransitionTime
		}
		conditions = append(conditions, map[string]any{
			"type": want.Type, "status": string(want.Status), "reason": want.Reason, "message": want.Message,
			"observedGeneration": e.Generation, "lastTransitionTime": want.LastTransitionTime.UTC().Format(time.RFC3339),
		})
	}
	if said {
		return nil
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": conditions}}}
	u.SetGroupVersionKind(mcsv1alpha1.SchemeGroupVersion.WithKind(mcsv1alpha1.ServiceExportKindName))
	u.SetNamespace(e.Namespace)
	u.SetName(e.Name)
	if err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(manager), client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the conditions of ServiceExport %s/%s: %w", e.Namespace, e.Name, err)
	}
	return nil
}

// validity is the condition Valid of an export of that service, nil for none.
func validity(name string, s *corev1.Service) metav1.Condition {
	c := metav1.Condition{Type: string(mcsv1alpha1.ServiceExportConditionValid), Status: metav1.ConditionFalse}
	switch {
	case s == nil:
		c.Reason = string(mcsv1alpha1.ServiceExportReasonNoService)
		c.Message = fmt.Sprintf("there is no Service %s: create it, or remove the export", name)
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		c.Reason = string(mcsv1alpha1.ServiceExportReasonInvalidServiceType)
		c.Message = fmt.Sprintf("Service %s is of type ExternalName, which has no endpoints to export", name)
	default:
		c.Status, c.Reason = metav1.ConditionTrue, string(mcsv1alpha1.ServiceExportReasonValid)
		c.Message = fmt.Sprintf("Service %s can be exported", name)
	}
	return c
}

// sameValidity: another controller of the same API may say the same in words and with a
// reason of its own, which is no cause for a dispute.
func sameValidity(is, want metav1.Condition) bool {
	return is.Reason == want.Reason || !slices.Contains([]mcsv1alpha1.ServiceExportConditionReason{mcsv1alpha1.ServiceExportReasonValid,
		mcsv1alpha1.ServiceExportReasonNoService, mcsv1alpha1.ServiceExportReasonInvalidServiceType}, mcsv1alpha1.ServiceExportConditionReason(is.Reason))
}

// sameConflict: that there is none can be said in any words.
func sameConflict(is, want metav1.Condition) bool {
	return is.Status == metav1.ConditionFalse || is.Reason == want.Reason && is.Message == want.Message
}
