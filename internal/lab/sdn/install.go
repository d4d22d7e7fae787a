package sdn

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/template"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
)

// manifests are the objects that an OpenShift cluster has of its network, security and
// DNS, as templates over Cluster.
//
//go:embed manifests/*.yaml
var manifests embed.FS

const fieldManager = "sdn-tunnel-lab"

// patience is how long the API server may take to serve a kind that was just defined.
const patience = 2 * time.Minute

// Install makes the API server at cfg serve OpenShift's network, security and DNS
// objects and fills them as an OpenShift cluster's are: the definitions are Established
// when it returns, the nodes of c have their HostSubnets and the namespaces that exist
// their NetNamespaces. It can be repeated. RunController does the last two for what
// comes later.
func Install(ctx context.Context, cfg *rest.Config, c Cluster) error {
	c = c.withDefaults()
	in, err := newInstaller(cfg)
	if err != nil {
		return err
	}
	definitions, err := readDefinitions(c.Definitions)
	if err != nil {
		return err
	}
	for _, crd := range definitions {
		if err := in.apply(ctx, crd, crdResource); err != nil {
			return err
		}
	}
	for _, crd := range definitions {
		if err := in.established(ctx, crd.GetName()); err != nil {
			return err
		}
	}
	objects, err := readObjects(manifests, "manifests", c)
	if err != nil {
		return err
	}
	if err := in.applyAll(ctx, objects); err != nil {
		return err
	}
	controller, err := newController(cfg, c)
	if err != nil {
		return err
	}
	return controller.once(ctx, c.Nodes)
}

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

type installer struct {
	client    dynamic.Interface
	discovery discovery.DiscoveryInterface
}

// unthrottled is cfg without the client's own limit of requests: a lab's API server has
// few clients, and Install makes many requests at once.
func unthrottled(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	return cfg
}

func newInstaller(cfg *rest.Config) (*installer, error) {
	cfg = unthrottled(cfg)
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for OpenShift's objects: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for API discovery: %w", err)
	}
	return &installer{client: client, discovery: d}, nil
}

func (in *installer) apply(ctx context.Context, obj *unstructured.Unstructured, gvr schema.GroupVersionResource) error {
	var target dynamic.ResourceInterface = in.client.Resource(gvr)
	if ns := obj.GetNamespace(); ns != "" {
		target = in.client.Resource(gvr).Namespace(ns)
	}
	_, err := target.Apply(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	return in.applyStatus(ctx, obj, target)
}

// applyStatus writes the status of an object that has one; OpenShift's operators do.
func (in *installer) applyStatus(ctx context.Context, obj *unstructured.Unstructured, target dynamic.ResourceInterface) error {
	if _, ok := obj.Object["status"]; !ok || obj.GetKind() == "CustomResourceDefinition" {
		return nil
	}
	_, err := target.ApplyStatus(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil && !apierrors.IsNotFound(err) { // not found: the type has no status subresource
		return fmt.Errorf("apply the status of %s %s: %w", obj.GetKind(), obj.GetName(), err)
	}
	return nil
}

func (in *installer) established(ctx context.Context, name string) error {
	var last string
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		crd, err := in.client.Resource(crdResource).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, c := range conditions {
			m, _ := c.(map[string]any)
			if m["type"] == "Established" && m["status"] == "True" {
				return true, nil
			}
			last = fmt.Sprint(m["type"], "=", m["status"], " ", m["message"])
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("definition %s is not established (%s): %w", name, last, err)
	}
	return nil
}

// applyAll writes objects whose types may have been served for only a moment: it asks
// the server for them until it knows all.
func (in *installer) applyAll(ctx context.Context, objects []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		mapper, unserved := in.mapper()
		for unserved == nil && len(objects) > 0 {
			gvk := objects[0].GroupVersionKind()
			m, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
			if err == nil {
				err = in.apply(ctx, objects[0], m.Resource)
			}
			if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
				unserved = err // the kind, or the namespace
				break
			}
			if err != nil {
				return err
			}
			objects = objects[1:]
		}
		if unserved == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("objects of OpenShift's API: %w: %w", ctx.Err(), unserved)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// mapper knows what the server serves now. It fails while a group is too new to be
// served.
func (in *installer) mapper() (meta.RESTMapper, error) {
	groups, err := restmapper.GetAPIGroupResources(in.discovery)
	if err != nil {
		return nil, err
	}
	return restmapper.NewDiscoveryRESTMapper(groups), nil
}

// readDefinitions reads OpenShift's definitions; without any, no object of it is served.
func readDefinitions(files fs.FS) ([]*unstructured.Unstructured, error) {
	if files == nil {
		return nil, errors.New("definitions of OpenShift's objects: none were given")
	}
	definitions, err := readObjects(files, ".", nil)
	if err != nil {
		return nil, fmt.Errorf("definitions of OpenShift's objects: %w", err)
	}
	if len(definitions) == 0 {
		return nil, errors.New("definitions of OpenShift's objects: the folder has none")
	}
	return definitions, nil
}

// readObjects reads the YAML documents of a folder; with data they are templates.
func readObjects(files fs.FS, dir string, data any) ([]*unstructured.Unstructured, error) {
	entries, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for _, e := range entries {
		text, err := fs.ReadFile(files, strings.TrimPrefix(dir+"/"+e.Name(), "./"))
		if err != nil {
			return nil, err
		}
		if data != nil {
			if text, err = render(e.Name(), text, data); err != nil {
				return nil, err
			}
		}
		objects, err := apply.Read("read "+e.Name(), text)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

func render(name string, text []byte, data any) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, data)
	return b.Bytes(), err
}
