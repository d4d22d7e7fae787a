package verify

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
	"github.com/sdn-tunnel/sdn-tunnel/samples"
)

// resources are the kinds that the manifests hold.
var resources = map[string]schema.GroupVersionResource{
	"Namespace":      {Version: "v1", Resource: "namespaces"},
	"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"},
	"RoleBinding":    {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"Service":        {Version: "v1", Resource: "services"},
	"DaemonSet":      {Group: "apps", Version: "v1", Resource: "daemonsets"},
	"ServiceExport":  {Group: "multicluster.x-k8s.io", Version: "v1alpha1", Resource: "serviceexports"},
}

// hostNamespace is the hostNetwork prober's.
func (o *Options) hostNamespace() string { return o.Namespace + "-host" }

// manifests are the objects to apply, with the options' names and image.
func (o *Options) manifests() ([]*unstructured.Unstructured, error) {
	objects, err := o.read(samples.TestApp, o.Namespace)
	if err == nil && o.ClusterSet {
		var export []*unstructured.Unstructured
		export, err = o.read(samples.TestAppExport, o.Namespace)
		objects = append(objects, export...)
	}
	if err != nil || o.SkipNodes {
		return objects, err
	}
	host, err := o.read(samples.TestAppHost, o.hostNamespace())
	return append(objects, host...), err
}

func (o *Options) read(manifest []byte, namespace string) ([]*unstructured.Unstructured, error) {
	objects, err := apply.Read("the test application's manifest", manifest)
	if err != nil {
		return nil, err
	}
	for _, u := range objects {
		if _, known := resources[u.GetKind()]; !known {
			return nil, fmt.Errorf("the test application's manifest has an unexpected %s", u.GetKind())
		}
		if err := o.fill(u, namespace); err != nil {
			return nil, fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return objects, nil
}

// fill puts namespace, image and pull policy in.
func (o *Options) fill(u *unstructured.Unstructured, namespace string) error {
	switch u.GetKind() {
	case "Namespace":
		u.SetName(namespace)
		return nil
	case "RoleBinding":
		subjects, _, err := unstructured.NestedSlice(u.Object, "subjects")
		if err != nil {
			return err
		}
		for _, s := range subjects {
			s.(map[string]any)["namespace"] = namespace
		}
		if err := unstructured.SetNestedSlice(u.Object, subjects, "subjects"); err != nil {
			return err
		}
	case "DaemonSet":
		path := []string{"spec", "template", "spec", "containers"}
		containers, _, err := unstructured.NestedSlice(u.Object, path...)
		if err != nil {
			return err
		}
		for _, c := range containers {
			c.(map[string]any)["image"] = o.Image
			c.(map[string]any)["imagePullPolicy"] = o.PullPolicy
		}
		if err := unstructured.SetNestedSlice(u.Object, containers, path...); err != nil {
			return err
		}
	}
	u.SetNamespace(namespace)
	return nil
}
