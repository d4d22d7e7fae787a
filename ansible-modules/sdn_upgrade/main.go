// The Ansible module sdn_upgrade: another version of agents and controller, batch by batch,
// and the way back.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rollout"
)

// Args are the module's arguments.
type Args struct {
	State           string           `arg:"state,required" choices:"looked,begun,settled,agents,ended,back"`
	Members         []cluster.Member `arg:"members,required"`
	Cluster         string           `arg:"cluster"`
	Namespace       string           `arg:"namespace" default:"sdn-tunnel"`
	AppName         string           `arg:"appname" default:"sdn-tunnel"`
	Declared        map[string][]any `arg:"declared"`
	AllowDowngrade  bool             `arg:"allow_downgrade" default:"false"`
	Force           bool             `arg:"force" default:"false"`
	UnderWay        bool             `arg:"under_way" default:"false"`
	Known           []string         `arg:"known"`
	Manifests       []any            `arg:"manifests"`
	Batch           string           `arg:"batch" default:"25%"`
	Canary          bool             `arg:"canary" default:"true"`
	RolloutTimeout  int              `arg:"rollout_timeout" default:"300"`
	SettleTimeout   int              `arg:"settle_timeout" default:"90"`
	TestImage       string           `arg:"test_image"`
	ImagePullPolicy string           `arg:"image_pull_policy" default:"IfNotPresent" choices:"Always,IfNotPresent,Never"`
}

// Validate refuses calls that lack what their state needs.
func (a *Args) Validate() error {
	var errs []error
	need := func(name string, given bool) {
		if !given {
			errs = append(errs, fmt.Errorf("%s: state %s needs it", name, a.State))
		}
	}
	switch a.State {
	case "begun":
		for _, m := range a.Members {
			need("declared."+m.Name, len(a.Declared[m.Name]) > 0)
		}
	case "agents":
		need("cluster", a.Cluster != "")
		need("manifests", len(a.Manifests) > 0)
		if _, err := rollout.Batches([]string{"a"}, a.Batch, a.Canary); err != nil {
			errs = append(errs, err)
		}
	case "back":
		need("cluster", a.Cluster != "")
	}
	return errors.Join(errs...)
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, call module.Call, args Args) (result module.Result, err error) {
	accesses, err := cluster.OpenAll(ctx, args.Members)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, accesses.Close(ctx)) }()
	r := &upgrade{call: call, args: args}
	if err := r.with(accesses); err != nil {
		return result, err
	}
	switch args.State {
	case "looked":
		known := rollout.Known(meshstatus.Make(time.Now(), meshstatus.Read(ctx, r.mesh())))
		return module.Result{Data: map[string]any{"known": known}}, nil
	case "begun":
		return r.begin(ctx)
	case "settled":
		return result, r.settle(ctx)
	case "agents":
		return r.agents(ctx)
	case "ended":
		return r.end(ctx)
	default:
		return r.back(ctx)
	}
}

// upgrade is one call.
type upgrade struct {
	call    module.Call
	args    Args
	members []member
}

// member is a cluster that is logged in to.
type member struct {
	name   string
	access *kubeaccess.Access
	client kubernetes.Interface
}

// deployOwner is the field manager of sdn_apply, which declares the workloads.
const deployOwner = "sdn-tunnel-deploy"

func (r *upgrade) place(cluster string) rollout.Place {
	return rollout.Place{Cluster: cluster, Namespace: r.args.Namespace, AppName: r.args.AppName, Owner: deployOwner}
}

// with is what an upgrade knows of members that are logged in to.
func (r *upgrade) with(accesses kubeaccess.All) error {
	for i, access := range accesses {
		name := r.args.Members[i].Name
		client, err := kubernetes.NewForConfig(access.Config)
		if err != nil {
			return fmt.Errorf("cluster %s: %w", name, err)
		}
		r.members = append(r.members, member{name: name, access: access, client: client})
	}
	return nil
}

// chosen is the member that argument cluster names.
func (r *upgrade) chosen() (member, error) {
	for _, m := range r.members {
		if m.name == r.args.Cluster {
			return m, nil
		}
	}
	return member{}, fmt.Errorf("cluster: %q is none of the members", r.args.Cluster)
}

// mesh is what the gates look at.
func (r *upgrade) mesh() meshstatus.Options {
	o := meshstatus.Options{Namespace: r.args.Namespace, Timeout: 30 * time.Second}
	for _, m := range r.members {
		o.Members = append(o.Members, meshstatus.Member{Name: m.name, Open: func(context.Context) (*rest.Config, error) { return m.access.Config, nil }})
	}
	return o
}

func (r *upgrade) settle(ctx context.Context) error {
	if r.call.Check {
		return nil
	}
	return rollout.Settle(ctx, r.mesh(), r.args.Known, time.Duration(r.args.SettleTimeout)*time.Second)
}
