// The Ansible module sdn_verify: the matrix of all pairs of nodes.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/verify"
)

// Args are the module's arguments.
type Args struct {
	Members         []cluster.Member `arg:"members,required"`
	Image           string           `arg:"image,required"`
	ImagePullPolicy string           `arg:"image_pull_policy" default:"IfNotPresent" choices:"Always,IfNotPresent,Never"`
	Namespace       string           `arg:"namespace" default:"sdn-tunnel-test"`
	TunnelNamespace string           `arg:"tunnel_namespace" default:"sdn-tunnel"`
	Services        bool             `arg:"services" default:"false"`
	Names           bool             `arg:"names" default:"false"`
	ClusterSet      bool             `arg:"clusterset" default:"false"`
	Patience        int              `arg:"patience" default:"30"`
	JUnit           string           `arg:"junit"`
	JSON            string           `arg:"json"`
	ReadyTimeout    int              `arg:"ready_timeout" default:"120"`
	TransferBytes   int64            `arg:"transfer_bytes" default:"10000000"`
	AwaitRemoval    bool             `arg:"await_removal" default:"true"`
	Alone           bool             `arg:"alone" default:"false"`
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, call module.Call, args Args) (result module.Result, err error) {
	if call.Check {
		result.Msg = "the matrix is not probed in check mode: it needs pods"
		return result, nil
	}
	o := verify.Options{
		Namespace: args.Namespace, TunnelNamespace: args.TunnelNamespace,
		Image: args.Image, PullPolicy: args.ImagePullPolicy,
		Services: args.Services, Names: args.Names, ClusterSet: args.ClusterSet, Patience: time.Duration(args.Patience) * time.Second,
		ReadyTimeout: time.Duration(args.ReadyTimeout) * time.Second, TransferBytes: args.TransferBytes, LeaveRemoval: !args.AwaitRemoval, Alone: args.Alone,
	}
	accesses, err := cluster.OpenAll(ctx, args.Members)
	if err != nil {
		return result, err
	}
	defer func() { _ = accesses.Close(ctx) }() // the tokens expire by themselves as well
	for i, acc := range accesses {
		o.Clusters = append(o.Clusters, verify.Member{Name: args.Members[i].Name, Config: acc.Config})
	}
	report, err := verify.Run(ctx, o)
	if err != nil {
		return result, err
	}
	return present(report, args)
}

// present writes the files that are asked for and returns the table.
func present(report verify.Report, args Args) (module.Result, error) {
	var table bytes.Buffer
	err := errors.Join(
		report.WriteTable(&table, false),
		toFile(args.JUnit, report.WriteJUnit),
		toFile(args.JSON, report.WriteJSON))
	result := module.Result{Msg: report.Summary(), Data: map[string]any{"table": table.String(), "ok": report.OK()}}
	if err == nil && !report.OK() {
		err = fmt.Errorf("%s\n%s", report.Summary(), table.String())
	}
	return result, err
}

func toFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return errors.Join(write(f), f.Close())
}
