// The Ansible module sdn_apply: objects as declared, by server-side apply.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Args are the module's arguments.
type Args struct {
	Access          cluster.Access `arg:"access,required"`
	Name            string         `arg:"name"`
	State           string         `arg:"state" default:"present" choices:"present,absent"`
	Manifests       []any          `arg:"manifests"`
	Files           []string       `arg:"files"`
	Objects         []Object       `arg:"objects"`
	OnlyInNamespace string         `arg:"only_in_namespace"`
	MadeBefore      []string       `arg:"made_before"`
	OnlyOwn         bool           `arg:"only_own" default:"false"`
	OnlyIfServed    bool           `arg:"only_if_served" default:"false"`
	Prune           []Stale        `arg:"prune"`
	FieldManager    string         `arg:"field_manager" default:"sdn-tunnel-deploy"`
	Wait            bool           `arg:"wait" default:"false"`
	WaitTimeout     int            `arg:"wait_timeout" default:"300"`
}

// Object names an object to be removed.
type Object struct {
	APIVersion string `arg:"apiVersion,required"`
	Kind       string `arg:"kind,required"`
	Namespace  string `arg:"namespace"`
	Name       string `arg:"name,required"`
}

// Stale finds objects that an earlier call made and this one does not.
type Stale struct {
	APIVersion string `arg:"apiVersion,required"`
	Kind       string `arg:"kind,required"`
	Namespace  string `arg:"namespace"`
	Selector   string `arg:"selector,required"`
}

// Validate refuses calls that say nothing, or that remove and apply at once.
func (a *Args) Validate() error {
	switch {
	case a.State == "present" && len(a.Objects) > 0:
		return errors.New("objects: it names what is removed; with state present use manifests or files")
	case len(a.Manifests)+len(a.Files)+len(a.Objects) == 0 && (a.State == "present" || len(a.Prune) == 0):
		return errors.New("manifests, files or objects: one must be given")
	}
	return nil
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, call module.Call, args Args) (result module.Result, err error) {
	objects, err := read(args)
	if err != nil {
		return result, err
	}
	acc, err := args.Access.Open(ctx, args.Name)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, acc.Close(ctx)) }()
	e, err := apply.New(acc.Config, args.FieldManager, call.Check)
	if err != nil {
		return result, err
	}
	e.MadeBefore, e.OnlyOwn = args.MadeBefore, args.OnlyOwn
	if args.OnlyInNamespace != "" {
		if there, err := e.HasNamespace(ctx, args.OnlyInNamespace); err != nil || !there {
			return result, err
		}
	}
	name := args.Name
	if name == "" {
		name = acc.Config.Host
	}
	if args.OnlyIfServed {
		missing, err := e.NotServed(objects)
		if err != nil {
			return result, fmt.Errorf("cluster %s: %w", name, err)
		}
		if len(missing) > 0 {
			result.Warnings = []string{fmt.Sprintf("cluster %s does not have %s: nothing was made there that needs it", name, strings.Join(missing, ", "))}
			return result, nil
		}
	}
	e.Note = func(message string) { module.Note(name, message) }
	changes, failure := carryOut(ctx, e, objects, args)
	if result, err = cluster.Result(name, changes); failure == nil {
		return result, err
	}
	return result, errors.Join(err, fmt.Errorf("cluster %s: %w%s%s", name, failure,
		explain(ctx, acc, args.Name, objects), soFar(changes, call.Check)))
}

func carryOut(ctx context.Context, e *apply.Engine, objects []*unstructured.Unstructured, args Args) ([]ssa.Change, error) {
	limit := time.Duration(args.WaitTimeout) * time.Second
	if args.State == "absent" {
		changes, err := e.Delete(ctx, objects)
		if err == nil && args.Wait {
			err = e.AwaitGone(ctx, objects, limit)
		}
		return prune(ctx, e, args.Prune, nil, changes, err)
	}
	changes, err := e.Apply(ctx, objects)
	if err == nil && args.Wait {
		err = e.AwaitRollout(ctx, objects, limit)
	}
	// Only now: until the rollout is over, pods of before may need what is stale.
	return prune(ctx, e, args.Prune, objects, changes, err)
}

// prune adds to the changes of before, unless they ended with an error.
func prune(ctx context.Context, e *apply.Engine, all []Stale, keep []*unstructured.Unstructured, changes []ssa.Change, err error) ([]ssa.Change, error) {
	for _, s := range all {
		if err != nil {
			break
		}
		var pruned []ssa.Change
		pruned, err = e.Prune(ctx, apply.Stale(s), keep)
		changes = append(changes, pruned...)
	}
	return changes, err
}

// explain is empty where no agents were applied.
func explain(ctx context.Context, acc *kubeaccess.Access, name string, applied []*unstructured.Unstructured) string {
	if !slices.ContainsFunc(applied, isAgent) {
		return ""
	}
	return cluster.WhyAgents(ctx, acc, name)
}

func isAgent(o *unstructured.Unstructured) bool {
	return o.GetKind() == "DaemonSet" && o.GetLabels()["app.kubernetes.io/component"] == "agent"
}

// soFar says what an interrupted run has changed.
func soFar(changes []ssa.Change, check bool) string {
	if len(changes) == 0 || check {
		return ""
	}
	var b bytes.Buffer
	b.WriteString("\nchanged before that:")
	for _, c := range changes {
		_, _ = fmt.Fprintf(&b, "\n  %s", c)
	}
	return b.String()
}

// read gathers the objects from all arguments.
func read(args Args) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, name := range args.Files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
		objects, err := apply.Read(name, text)
		if err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
		all = append(all, objects...)
	}
	manifests, err := apply.Manifests("manifests", args.Manifests)
	if err != nil {
		return nil, err
	}
	all = append(all, manifests...)
	for _, o := range args.Objects {
		u := &unstructured.Unstructured{}
		u.SetAPIVersion(o.APIVersion)
		u.SetKind(o.Kind)
		u.SetNamespace(o.Namespace)
		u.SetName(o.Name)
		all = append(all, u)
	}
	return all, nil
}
