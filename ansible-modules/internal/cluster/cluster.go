// Package cluster is what the modules that speak to a cluster's API have in common:
// the argument "access", the client made from it, and changes shown as a diff.
package cluster

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Access is how a cluster's API is reached.
type Access struct {
	Kubeconfig string        `arg:"kubeconfig"`
	Context    string        `arg:"context"`
	URL        string        `arg:"url"`
	Username   string        `arg:"username"`
	Password   module.Secret `arg:"password"`
	CAFile     string        `arg:"ca_file"`
}

// Member is a cluster by name, with the way to it.
type Member struct {
	Name   string `arg:"name,required"`
	Access Access `arg:"access,required"`
}

// Open logs in to the cluster, whose name is for errors. The caller closes it.
func (a Access) Open(ctx context.Context, name string) (*kubeaccess.Access, error) {
	return kubeaccess.Open(ctx, a.named(name))
}

func (a Access) named(name string) kubeaccess.Args {
	return kubeaccess.Args{
		Name: name, Kubeconfig: a.Kubeconfig, Context: a.Context,
		URL: a.URL, Username: a.Username, Password: a.Password.Reveal(), CAFile: a.CAFile,
	}
}

// OpenAll logs in to all members at once, in their order; or to none, and says of which it
// could not. The caller closes them.
func OpenAll(ctx context.Context, members []Member) (kubeaccess.All, error) {
	args := make([]kubeaccess.Args, len(members))
	for i, m := range members {
		args[i] = m.Access.named(m.Name)
	}
	return kubeaccess.OpenAll(ctx, args)
}

// Client is an uncached client for the objects that the modules handle.
func Client(acc *kubeaccess.Access) (client.Client, error) {
	scheme := runtime.NewScheme()
	kinds := runtime.NewSchemeBuilder(corev1.AddToScheme, appsv1.AddToScheme, discoveryv1.AddToScheme, rbacv1.AddToScheme, authenticationv1.AddToScheme, v1alpha1.AddToScheme)
	if err := kinds.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.New(acc.Config, client.Options{Scheme: scheme})
}

// Result says what changed, one diff for each object.
func Result(cluster string, changes []ssa.Change) (module.Result, error) {
	r := module.Result{Changed: len(changes) > 0}
	lines := make([]string, 0, len(changes))
	for _, c := range changes {
		before, err := text(c.Before)
		if err != nil {
			return r, err
		}
		after, err := text(c.After)
		if err != nil {
			return r, err
		}
		header := fmt.Sprintf("%s: %s", cluster, c)
		r.Diff = append(r.Diff, module.Diff{Before: before, After: after, BeforeHeader: header, AfterHeader: header})
		lines = append(lines, header)
	}
	r.Data = map[string]any{"changes": lines}
	return r, nil
}

func text(object map[string]any) (string, error) {
	if len(object) == 0 {
		return "", nil
	}
	b, err := yaml.Marshal(object)
	return string(b), err
}
