package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// A namespace belongs to the run that created it until the time that it names: another
// run refuses it before, and replaces it after, when nobody can be behind it any more.
const (
	runAnnotation   = "sdntunnel.io/verify-run"
	untilAnnotation = "sdntunnel.io/verify-until"
	// claimTime is how long a run may take, beside the wait for its pods.
	claimTime = 15 * time.Minute
)

// errBusy: another run has the namespace.
var errBusy = errors.New("another verification is running there, or was killed")

// claim creates a namespace of this run. One of a run that is over goes first; one of a
// run that may still go on, or of somebody else, is refused.
func (k *kubeCluster) claim(ctx context.Context, u *unstructured.Unstructured, o *Options) error {
	ns := &corev1.Namespace{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, ns); err != nil {
		return err
	}
	until := time.Now().Add(o.ReadyTimeout + claimTime)
	if o.Keep {
		until = time.Now() // the next run may replace it at once
	}
	annotations := maps.Clone(ns.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[runAnnotation], annotations[untilAnnotation] = o.run, until.UTC().Format(time.RFC3339)
	ns.Annotations = annotations
	if err := k.clear(ctx, ns.Name, o); err != nil {
		return err
	}
	_, err := k.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{FieldManager: fieldManager})
	if apierrors.IsAlreadyExists(err) {
		return busy(ns.Name, until)
	}
	return err
}

// clear makes a namespace's name free, if that may be done.
func (k *kubeCluster) clear(ctx context.Context, name string, o *Options) error {
	ns, err := k.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case ns.Labels[ownerLabel] != ownerValue:
		return errors.New("it exists and is not of sdn-tunnel: choose another one with --namespace")
	case ns.DeletionTimestamp == nil:
		// Without a time (applied by hand) it is nobody's.
		if until, err := time.Parse(time.RFC3339, ns.Annotations[untilAnnotation]); err == nil && time.Now().Before(until) && !o.Alone {
			return busy(name, until)
		}
		if err := k.delete(ctx, ns); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, o.ReadyTimeout)
	defer cancel()
	return k.waitGone(ctx, name)
}

func busy(name string, until time.Time) error {
	return fmt.Errorf("%w: wait for it, choose another namespace with --namespace, or, if it was killed, kubectl delete namespace %s (by itself it counts as over at %s)",
		errBusy, name, until.UTC().Format(time.RFC3339))
}

// delete deletes exactly the namespace that was looked at.
func (k *kubeCluster) delete(ctx context.Context, ns *corev1.Namespace) error {
	err := k.client.CoreV1().Namespaces().Delete(ctx, ns.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(ns.UID))})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone already, or another one by now
	}
	return err
}

// remove deletes the namespaces of this run and, unless told otherwise, waits until they are
// gone.
func (k *kubeCluster) remove(ctx context.Context, o *Options) error {
	var errs []error
	var deleted []string
	for _, name := range o.namespaces() {
		ns, err := k.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || (err == nil && ns.Annotations[runAnnotation] != o.run) {
			continue
		}
		if err == nil {
			// The cluster begins to empty a namespace five seconds after it is told to; the
			// pods can end meanwhile.
			err = k.client.AppsV1().DaemonSets(name).DeleteCollection(ctx, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}, metav1.ListOptions{})
			err = errors.Join(err, k.delete(ctx, ns))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("namespace %s: %w (kubectl delete namespace %s)", name, err, name))
			continue
		}
		deleted = append(deleted, name)
	}
	if o.LeaveRemoval {
		return errors.Join(errs...)
	}
	for _, name := range deleted {
		errs = append(errs, k.waitGone(ctx, name))
	}
	return errors.Join(errs...)
}
