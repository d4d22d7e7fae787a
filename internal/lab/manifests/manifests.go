// Package manifests holds what runs in every cluster of a lab (cluster DNS, MetalLB,
// access of the OAuth user) and applies it.
package manifests

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
)

//go:embed *.tmpl
var all embed.FS

var templates = template.Must(template.New("").Option("missingkey=error").ParseFS(all, "*.tmpl"))

// order is that of creation: the pool needs MetalLB's definitions.
func order(v Values) []string {
	dns := "dns.yaml.tmpl"
	if v.DNSOperator {
		dns = "dns-operator.yaml.tmpl"
	}
	return []string{"access.yaml.tmpl", dns, "metallb.yaml.tmpl", "pool.yaml.tmpl"}
}

// Values fill in the manifests.
type Values struct {
	CoreDNSImage, MetalLBControllerImage, MetalLBSpeakerImage string
	DNSAddress, PoolFirst, PoolLast                           netip.Addr
	// DNSOperator: the cluster's DNS is that of OpenShift's DNS operator, not a CoreDNS in
	// kube-system with a Corefile of its own.
	DNSOperator bool
}

// Render gives the objects of a cluster, in order.
func Render(v Values) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, name := range order(v) {
		var b bytes.Buffer
		if err := templates.ExecuteTemplate(&b, name, v); err != nil {
			return nil, fmt.Errorf("manifest %s: %w", name, err)
		}
		objects, err := apply.Read("manifest "+name, b.Bytes())
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// Apply applies the definitions of the folder crds, and then the objects.
func Apply(ctx context.Context, cfg *rest.Config, crds string, v Values) error {
	objects, err := Render(v)
	if err != nil {
		return err
	}
	definitions, err := readFolder(crds)
	if err != nil {
		return err
	}
	a, err := newApplier(cfg)
	if err != nil {
		return err
	}
	for _, o := range append(definitions, objects...) {
		if err := a.apply(ctx, o); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

func readFolder(dir string) ([]*unstructured.Unstructured, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no definitions in %s: the cache of the lab's tools is damaged; remove it, and sdn-tunnel lab tools builds it again", dir)
	}
	var out []*unstructured.Unstructured
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		objects, err := apply.Read(name, b)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

type applier struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func newApplier(cfg *rest.Config) (*applier, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &applier{client, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))}, nil
}

// apply retries while the API server does not serve the object's kind yet, or has no
// default service account to admit with.
func (a *applier) apply(ctx context.Context, o *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		err := a.once(ctx, o)
		if err == nil || !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return err
		}
		a.mapper.Reset()
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *applier) once(ctx context.Context, o *unstructured.Unstructured) error {
	gvk := o.GroupVersionKind()
	m, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return err
	}
	var target dynamic.ResourceInterface = a.client.Resource(m.Resource)
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		target = a.client.Resource(m.Resource).Namespace(o.GetNamespace())
	}
	_, err = target.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "sdn-tunnel-lab", Force: true})
	return err
}
