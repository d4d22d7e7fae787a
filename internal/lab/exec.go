package lab

import (
	"fmt"
	"os"
	"os/exec"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// Command is a command for a user of the lab: in the operator's namespace, from
// where the API servers and the nodes' sshd are reached, with KUBECONFIG set and the
// lab's programs (kubectl, ctr …) in PATH. The caller runs it with RunInOperator.
func (l *Lab) Command(context string, args ...string) (*exec.Cmd, error) {
	env := append(os.Environ(), "KUBECONFIG="+l.KubeconfigPath(), "PATH="+l.tools.Bin()+":"+os.Getenv("PATH"))
	if context != "" {
		if _, ok := l.Cluster(context); !ok {
			return nil, fmt.Errorf("lab %s has no cluster %q: see sdn-tunnel lab status", l.Name, context)
		}
		env = append(env, "KUBECONFIG="+l.path("clusters", context, "pki", "admin.kubeconfig"))
	}
	if err := os.Setenv("PATH", l.tools.Bin()+":"+os.Getenv("PATH")); err != nil { // for the lookup
		return nil, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = env
	return cmd, cmd.Err
}

// RunInOperator starts the command in the operator's namespace and waits for it.
func (l *Lab) RunInOperator(cmd *exec.Cmd) error {
	if err := underlay.In(l.OperatorNS(), cmd.Start); err != nil {
		return err
	}
	return cmd.Wait()
}
