package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Engine applies to one API server.
type Engine struct {
	// Owner is the field manager.
	Owner string
	// DryRun: say what would change, and change nothing.
	DryRun bool
	// MadeBefore are namespaces that an earlier step makes, which in a dry run it has not.
	MadeBefore []string
	// OnlyOwn leaves alone what is there without the label app.kubernetes.io/managed-by
	// of this Owner: it belongs to somebody else.
	OnlyOwn bool

	// Note is told, once for each, what a rollout waits for that may be in vain; nil for nobody.
	Note func(string)

	client dynamic.Interface
	mapper meta.ResettableRESTMapper
	images imageWaits
}

// New makes an Engine for the API server at cfg.
func New(cfg *rest.Config, owner string, dryRun bool) (*Engine, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", cfg.Host, err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", cfg.Host, err)
	}
	return &Engine{
		Owner: owner, DryRun: dryRun, client: client,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d)),
	}, nil
}

// Apply makes the objects as declared and returns what it changed, or would. It applies
// definitions first and waits until they are served, then namespaces, then the rest in
// the order given.
func (e *Engine) Apply(ctx context.Context, objects []*unstructured.Unstructured) ([]ssa.Change, error) {
	order := slices.Clone(objects)
	slices.SortStableFunc(order, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	made := promises{namespaces: map[string]bool{}, kinds: map[schema.GroupKind]bool{}}
	for _, ns := range e.MadeBefore {
		made.namespaces[ns] = true
	}
	var changes []ssa.Change
	for i, obj := range order {
		if i > 0 && rank(order[i-1]) == rankDefinition && rank(obj) != rankDefinition {
			if err := e.served(ctx, order[:i]); err != nil {
				return changes, err
			}
		}
		change, err := e.one(ctx, obj, made)
		if err != nil {
			return changes, err
		}
		if change != nil {
			changes = append(changes, *change)
			made.add(obj)
		}
	}
	return changes, nil
}

const (
	rankDefinition = iota
	rankNamespace
	rankOther
)

func rank(o *unstructured.Unstructured) int {
	switch o.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
		return rankDefinition
	case schema.GroupKind{Kind: "Namespace"}:
		return rankNamespace
	}
	return rankOther
}

// one applies one object; a nil change means that it is as declared already.
func (e *Engine) one(ctx context.Context, obj *unstructured.Unstructured, made promises) (*ssa.Change, error) {
	created := &ssa.Change{Verb: ssa.Create, Kind: obj.GetKind(), Namespace: obj.GetNamespace(), Name: obj.GetName(), After: shown(obj)}
	target, err := e.resource(obj)
	if meta.IsNoMatchError(err) && e.DryRun && made.defines(obj.GroupVersionKind()) {
		return created, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", created, err)
	}
	live, err := target.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	exists := err == nil
	if exists && (!e.mayTouch(live) || e.asDeclared(obj, live)) {
		return nil, nil
	}
	if !exists && e.DryRun && made.namespaces[obj.GetNamespace()] {
		if there, err := e.HasNamespace(ctx, obj.GetNamespace()); err != nil || !there {
			return created, err
		}
	}
	options := metav1.ApplyOptions{FieldManager: e.Owner, Force: true, DryRun: []string{metav1.DryRunAll}}
	wanted, err := target.Apply(ctx, obj.GetName(), obj, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", created, err)
	}
	change := created
	if exists {
		if change = compare(live, wanted); change == nil {
			return nil, nil
		}
	}
	if e.DryRun {
		return change, nil
	}
	options.DryRun = nil
	if _, err := target.Apply(ctx, obj.GetName(), obj, options); err != nil {
		return nil, fmt.Errorf("%s: %w", change, err)
	}
	return change, nil
}

// labelManager names the owner of an object as a whole.
const labelManager = "app.kubernetes.io/managed-by"

func (e *Engine) mayTouch(live *unstructured.Unstructured) bool {
	return !e.OnlyOwn || live.GetLabels()[labelManager] == e.Owner
}

// asDeclared tells without the server that an apply would change nothing. That is so for most
// of what a second run applies, and spares the server dry runs, of which those of definitions
// are the dearest: it checks their schemas anew each time. Where it is false, the server may
// still find nothing to change: it knows more than one way to write a quantity, and how a
// Secret's text is kept.
func (e *Engine) asDeclared(obj, live *unstructured.Unstructured) bool {
	for _, entry := range live.GetManagedFields() {
		if entry.Manager == e.Owner && entry.APIVersion != live.GetAPIVersion() {
			return false // of fields with the names of another version
		}
	}
	change, err := ssa.Diff(obj, live, e.Owner)
	return err == nil && change == nil
}

// compare gives the update that makes live into wanted, both as the server has them.
func compare(live, wanted *unstructured.Unstructured) *ssa.Change {
	is, shall := bare(live), bare(wanted)
	if reflect.DeepEqual(is.Object, shall.Object) {
		return nil
	}
	return &ssa.Change{Verb: ssa.Update, Kind: wanted.GetKind(), Namespace: wanted.GetNamespace(), Name: wanted.GetName(),
		Before: shown(is), After: shown(shall)}
}

// bare is an object without what the server alone decides.
func bare(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	for _, path := range [][]string{
		{"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}, {"metadata", "uid"},
		{"metadata", "creationTimestamp"}, {"metadata", "annotations", "deprecated.daemonset.template.generation"}, {"status"},
	} {
		unstructured.RemoveNestedField(o.Object, path...)
	}
	return o
}

// shown is an object as people may see it: the values of a Secret are not for them.
func shown(o *unstructured.Unstructured) map[string]any {
	if o.GetKind() != "Secret" || o.GetAPIVersion() != "v1" {
		return o.Object
	}
	o = o.DeepCopy()
	for _, field := range []string{"data", "stringData"} {
		if values, ok := o.Object[field].(map[string]any); ok {
			for k := range values {
				values[k] = "(redacted)"
			}
		}
	}
	return o.Object
}

// resource is where an object of that kind is, asking the server anew for a kind that
// was not known before.
func (e *Engine) resource(obj *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	m, err := e.mapping(obj.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		if obj.GetNamespace() == "" {
			return nil, errors.New("metadata.namespace is missing")
		}
		return e.client.Resource(m.Resource).Namespace(obj.GetNamespace()), nil
	}
	return e.client.Resource(m.Resource), nil
}

// mapping finds the resource of a kind, of one that is new as well.
func (e *Engine) mapping(gvk schema.GroupVersionKind) (*meta.RESTMapping, error) {
	m, err := e.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		e.mapper.Reset()
		m, err = e.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	return m, err
}

// NotServed are the kinds among the objects that the cluster does not know, each once, in
// order.
func (e *Engine) NotServed(objects []*unstructured.Unstructured) (missing []string, err error) {
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		kind := fmt.Sprintf("%s of %s", gvk.Kind, gvk.GroupVersion())
		if slices.Contains(missing, kind) {
			continue
		}
		switch _, err := e.mapping(gvk); {
		case meta.IsNoMatchError(err):
			missing = append(missing, kind)
		case err != nil:
			return nil, fmt.Errorf("ask whether there is %s: %w", kind, err)
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// served waits until the definitions are Established and their kinds are known.
func (e *Engine) served(ctx context.Context, definitions []*unstructured.Unstructured) error {
	if e.DryRun {
		return nil
	}
	for _, d := range definitions {
		target, err := e.resource(d)
		if err != nil {
			return err
		}
		err = poll(ctx, 30*time.Second, 50*time.Millisecond, func() (string, error) {
			live, err := target.Get(ctx, d.GetName(), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			if !condition(live, "Established") {
				return "is not Established", nil
			}
			return "", nil
		})
		if err != nil {
			return fmt.Errorf("definition %s: %w", d.GetName(), err)
		}
	}
	e.mapper.Reset()
	return nil
}

// promises are what a dry run would have made by now.
type promises struct {
	namespaces map[string]bool
	kinds      map[schema.GroupKind]bool
}

func (p promises) add(o *unstructured.Unstructured) {
	switch rank(o) {
	case rankNamespace:
		p.namespaces[o.GetName()] = true
	case rankDefinition:
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		p.kinds[schema.GroupKind{Group: group, Kind: kind}] = true
	}
}

func (p promises) defines(gvk schema.GroupVersionKind) bool { return p.kinds[gvk.GroupKind()] }

// condition tells whether an object's status has the condition as True.
func condition(o *unstructured.Unstructured, kind string) bool {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	return slices.ContainsFunc(list, func(c any) bool {
		m, _ := c.(map[string]any)
		return m["type"] == kind && strings.EqualFold(fmt.Sprint(m["status"]), "true")
	})
}

// poll asks until ready says nothing more is missing, or the limit is over.
func poll(ctx context.Context, limit, every time.Duration, missing func() (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := ""
	for {
		what, err := missing()
		if err == nil && what == "" {
			return nil
		}
		if what != "" {
			last = what
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s it still %s", limit.Round(time.Second), last)
		case <-tick.C:
		}
	}
}

// typed reads part of an unstructured object.
func typed(o *unstructured.Unstructured, to any) error {
	raw, err := json.Marshal(o.Object)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}
