package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	appsac "k8s.io/client-go/applyconfigurations/apps/v1"
	coreac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
)

// States of a Record.
const (
	UnderWay = "under way"
	Done     = "done"
)

// Place is where a cluster has the workloads, and who declares them.
type Place struct {
	Cluster, Namespace, AppName string
	// Owner is the field manager of the deploy.
	Owner string
}

func (p Place) agents() string     { return p.AppName + "-agent" }
func (p Place) controller() string { return p.AppName + "-controller" }
func (p Place) record() string     { return p.AppName + "-upgrade" }

// Record is what a cluster's workloads were declared as before an upgrade.
type Record struct {
	State   string    `json:"state"`
	Started time.Time `json:"started"`
	// Agent and Controller are the images of then.
	Agent      string `json:"agent"`
	Controller string `json:"controller"`
	// To is what the upgrade brings.
	To Version `json:"to"`
	// Objects are DaemonSet, Deployment and the controller's ConfigMap, with what the deploy
	// declared and nothing else.
	Objects []*unstructured.Unstructured `json:"objects"`
}

// Version is what a cluster's workloads are: their images, and a digest of their whole
// declaration with arguments, resources and configuration.
type Version struct {
	Agent      string `json:"agent"`
	Controller string `json:"controller"`
	// Digest is empty in records of before there was one.
	Digest string `json:"digest,omitempty"`
}

// TakenUp tells whether an upgrade takes up the one that the Record is of, which was under
// way when it ended; is is what there is now. One that has all that it brings in place is over,
// whoever brought the last of it, so that the next one begins there.
func (r Record) TakenUp(is Version) bool {
	if r.To.Digest == "" {
		is.Digest = ""
	}
	return r.State == UnderWay && r.To != is
}

// Observe makes a Record of what is declared now, and tells what version that is; a cluster
// that has no workloads has none.
func Observe(ctx context.Context, c kubernetes.Interface, p Place) (r Record, is Version, err error) {
	r = Record{State: UnderWay, Started: time.Now().UTC().Truncate(time.Second)}
	w, err := p.workloads(ctx, c)
	if err != nil {
		return r, is, err
	}
	is = w.version()
	r.Agent, r.Controller = is.Agent, is.Controller
	return r, is, r.take(p, w)
}

// workloads are what a Record is of.
type workloads struct {
	agents     *appsv1.DaemonSet
	controller *appsv1.Deployment
	config     *corev1.ConfigMap
}

func (p Place) workloads(ctx context.Context, c kubernetes.Interface) (w workloads, err error) {
	if w.agents, err = c.AppsV1().DaemonSets(p.Namespace).Get(ctx, p.agents(), metav1.GetOptions{}); err != nil {
		return w, p.missing(err)
	}
	if w.controller, err = c.AppsV1().Deployments(p.Namespace).Get(ctx, p.controller(), metav1.GetOptions{}); err != nil {
		return w, p.missing(err)
	}
	if w.config, err = c.CoreV1().ConfigMaps(p.Namespace).Get(ctx, p.controller(), metav1.GetOptions{}); err != nil {
		return w, p.missing(err)
	}
	return w, nil
}

// version is of what is wanted of them, not of what has come of it.
func (w workloads) version() Version {
	text, err := json.Marshal([]any{w.agents.Spec, w.controller.Spec, w.config.Data, w.config.BinaryData})
	if err != nil {
		panic(fmt.Sprintf("encode workloads: %v", err)) // they were decoded
	}
	sum := sha256.Sum256(text)
	return Version{Agent: image(w.agents.Spec.Template), Controller: image(w.controller.Spec.Template), Digest: hex.EncodeToString(sum[:])}
}

// Becomes tells what version a cluster's workloads would be with what is declared; nothing is
// written. Of objects that are not among them nothing is said: they do not go back.
func Becomes(ctx context.Context, c kubernetes.Interface, p Place, declared []*unstructured.Unstructured) (Version, error) {
	w, err := p.workloads(ctx, c)
	if err != nil {
		return Version{}, err
	}
	options := metav1.PatchOptions{FieldManager: p.Owner, Force: new(true), DryRun: []string{metav1.DryRunAll}}
	for _, o := range declared {
		if o.GetNamespace() != p.Namespace {
			continue
		}
		text, err := json.Marshal(o.Object)
		if err != nil {
			return Version{}, fmt.Errorf("cluster %s: encode %s: %w", p.Cluster, o.GetName(), err)
		}
		switch o.GetKind() + " " + o.GetName() {
		case "DaemonSet " + p.agents():
			w.agents, err = c.AppsV1().DaemonSets(p.Namespace).Patch(ctx, p.agents(), types.ApplyPatchType, text, options)
		case "Deployment " + p.controller():
			w.controller, err = c.AppsV1().Deployments(p.Namespace).Patch(ctx, p.controller(), types.ApplyPatchType, text, options)
		case "ConfigMap " + p.controller():
			w.config, err = c.CoreV1().ConfigMaps(p.Namespace).Patch(ctx, p.controller(), types.ApplyPatchType, text, options)
		}
		if err != nil {
			return Version{}, fmt.Errorf("cluster %s: ask what %s %s would become: %w", p.Cluster, o.GetKind(), o.GetName(), err)
		}
	}
	return w.version(), nil
}

func image(t corev1.PodTemplateSpec) string {
	if len(t.Spec.Containers) == 0 {
		return ""
	}
	return t.Spec.Containers[0].Image
}

func (p Place) missing(err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("cluster %s: there is nothing to upgrade: %w; run the deploy", p.Cluster, err)
	}
	return fmt.Errorf("cluster %s: %w", p.Cluster, err)
}

// take extracts what the deploy declared of each object.
func (r *Record) take(p Place, w workloads) error {
	a, errA := appsac.ExtractDaemonSet(w.agents, p.Owner)
	d, errD := appsac.ExtractDeployment(w.controller, p.Owner)
	m, errM := coreac.ExtractConfigMap(w.config, p.Owner)
	for _, each := range []struct {
		what   string
		object any
		err    error
	}{{"ConfigMap", m, errM}, {"Deployment", d, errD}, {"DaemonSet", a, errA}} {
		if each.err != nil {
			return fmt.Errorf("cluster %s: what the deploy declared of %s: %w", p.Cluster, each.what, each.err)
		}
		text, err := json.Marshal(each.object)
		if err != nil {
			return fmt.Errorf("cluster %s: encode %s: %w", p.Cluster, each.what, err)
		}
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal(text, &u.Object); err != nil {
			return fmt.Errorf("cluster %s: decode %s: %w", p.Cluster, each.what, err)
		}
		r.Objects = append(r.Objects, u)
	}
	return nil
}

const recordKey = "record.json"

// Load reads the Record that a cluster keeps; ok is false if it has none.
func Load(ctx context.Context, c kubernetes.Interface, p Place) (r Record, ok bool, err error) {
	m, err := c.CoreV1().ConfigMaps(p.Namespace).Get(ctx, p.record(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("cluster %s: read ConfigMap %s: %w", p.Cluster, p.record(), err)
	}
	if err := json.Unmarshal([]byte(m.Data[recordKey]), &r); err != nil {
		return r, false, fmt.Errorf("cluster %s: ConfigMap %s/%s: %w; remove it, and the way back with it", p.Cluster, p.Namespace, p.record(), err)
	}
	return r, true, nil
}

// Keep writes the Record into the cluster.
func (r Record) Keep(ctx context.Context, c kubernetes.Interface, p Place) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("cluster %s: encode the record: %w", p.Cluster, err)
	}
	m := coreac.ConfigMap(p.record(), p.Namespace).
		WithLabels(map[string]string{"app.kubernetes.io/part-of": "sdn-tunnel"}).
		WithData(map[string]string{recordKey: string(text)})
	_, err = c.CoreV1().ConfigMaps(p.Namespace).Apply(ctx, m, metav1.ApplyOptions{FieldManager: p.Owner, Force: true})
	if err != nil {
		return fmt.Errorf("cluster %s: keep ConfigMap %s: %w", p.Cluster, p.record(), err)
	}
	return nil
}

// Drop removes the Record from the cluster.
func Drop(ctx context.Context, c kubernetes.Interface, p Place) error {
	err := c.CoreV1().ConfigMaps(p.Namespace).Delete(ctx, p.record(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("cluster %s: remove ConfigMap %s: %w", p.Cluster, p.record(), err)
	}
	return nil
}
