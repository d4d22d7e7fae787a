package labcmd

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
)

func TestPrintStatus(t *testing.T) {
	s := lab.Status{
		Name: "lab", SDNMode: "subnet", Datapath: "netdev", Complete: true, Kubeconfig: "/state/kubeconfig", Inventory: "/state/hosts.yml", SSHKey: "/state/key",
		Clusters: []lab.ClusterStatus{{Name: "east", Up: true, API: "https://a:6443", OAuth: "https://a:8443", Pods: "10.128.0.0/14", Services: "172.30.0.0/16",
			Nodes: []lab.NodeStatus{{Name: "east-1", Address: "192.168.50.11", HostSubnet: "10.128.0.0/23", Pid: 7}, {Name: "east-2", Address: "192.168.50.12"}}}},
	}
	for name, tc := range map[string]struct {
		complete bool
		want     []string
		not      string
	}{
		"up":      {true, []string{"cluster east     up", "node east-1    up", "node east-2    OFF", "/state/kubeconfig"}, "half up"},
		"half up": {false, []string{"half up", "lab down --name lab"}, "no such"},
	} {
		t.Run(name, func(t *testing.T) {
			s.Complete = tc.complete
			var out bytes.Buffer
			printStatus(&out, s)
			for _, w := range tc.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in:\n%s", w, &out)
				}
			}
			if strings.Contains(out.String(), tc.not) {
				t.Errorf("%q in:\n%s", tc.not, &out)
			}
		})
	}
}

// TestCommandsOfNoLab are refused with a name and a remedy, before anything is done.
func TestCommandsOfNoLab(t *testing.T) {
	for name, args := range map[string][]string{
		"status": {"status"}, "exec": {"exec", "--", "true"}, "node": {"node", "kill", "east-1"},
		"images": {"images"}, "logs": {"logs", "east-1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SDN_TUNNEL_LAB", "nosuchlab")
			app := &cli.App{Name: "lab", Commands: Commands(), Writer: &bytes.Buffer{}, ErrWriter: &bytes.Buffer{}, ExitErrHandler: func(*cli.Context, error) {}}
			err := app.Run(append([]string{"lab"}, args...))
			if !errors.Is(err, lab.ErrNone) || !strings.Contains(err.Error(), "lab up --name nosuchlab") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Every command that people see says what it does, and every flag.
func TestCommandsAreDescribed(t *testing.T) {
	for _, c := range Commands() {
		if c.Usage == "" {
			t.Errorf("lab %s says nothing of itself", c.Name)
		}
		for _, f := range c.Flags {
			if d, ok := f.(cli.DocGenerationFlag); !c.Hidden && (!ok || d.GetUsage() == "") {
				t.Errorf("lab %s: flag %q says nothing of itself", c.Name, f.Names())
			}
		}
	}
}

// TestPlaceIsChecked before anything is built or run.
func TestPlaceIsChecked(t *testing.T) {
	for _, command := range []string{"kernel", "bench"} {
		app := &cli.App{Name: "lab", Commands: Commands(), Writer: &bytes.Buffer{}, ErrWriter: &bytes.Buffer{}, ExitErrHandler: func(*cli.Context, error) {}}
		err := app.Run([]string{"lab", command, "--in", "moon"})
		if err == nil || !strings.Contains(err.Error(), "--in moon: want here, guest or auto") {
			t.Errorf("%s: got %v", command, err)
		}
	}
}
