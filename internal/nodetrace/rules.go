package nodetrace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/svcproxy"
)

const (
	firewallTimeout = 2 * time.Second
	maxRules        = 5
)

// firewall gives the rules of the node that drop or refuse datagrams of the tunnel's port,
// as far as they name it.
func (l *looker) firewall(ctx context.Context, port int) (rules []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, firewallTimeout)
	defer cancel()
	var out []byte
	err = l.Node.Do(func() error {
		var failed *exec.ExitError
		out, err = exec.CommandContext(ctx, "nft", "-j", "-t", "list", "ruleset").Output()
		if errors.As(err, &failed) {
			return fmt.Errorf("nft list ruleset: %w: %s", err, strings.TrimSpace(string(failed.Stderr)))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return dropping(out, port)
}

// ruleset is what is read of nft's JSON (libnftables-json(5)).
type ruleset struct {
	NFTables []struct {
		Rule *struct {
			Family, Table, Chain string
			Expr                 []map[string]json.RawMessage
		}
	}
}

// dropping finds the rules that name UDP's port and end packets.
func dropping(text []byte, port int) (found []string, err error) {
	var all ruleset
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the node's rules: %w", err)
	}
	for _, o := range all.NFTables {
		if o.Rule == nil {
			continue
		}
		names, ends := false, ""
		for _, e := range o.Rule.Expr {
			for _, verdict := range []string{"drop", "reject"} {
				if _, ok := e[verdict]; ok {
					ends = verdict
				}
			}
			if match, ok := e["match"]; ok && namesPort(match, port) {
				names = true
			}
		}
		if names && ends != "" && len(found) < maxRules {
			found = append(found, fmt.Sprintf("table %s %s, chain %s: %s", o.Rule.Family, o.Rule.Table, o.Rule.Chain, ends))
		}
	}
	return found, nil
}

// namesPort tells whether a match is one of UDP's, or any transport's, port.
func namesPort(match json.RawMessage, port int) bool {
	var m struct {
		Left struct {
			Payload struct{ Protocol, Field string }
		}
		Right json.RawMessage
	}
	if json.Unmarshal(match, &m) != nil {
		return false
	}
	protocol, field := m.Left.Payload.Protocol, m.Left.Payload.Field
	if protocol != "udp" && protocol != "th" || field != "dport" && field != "sport" {
		return false
	}
	var one int
	if json.Unmarshal(m.Right, &one) == nil {
		return one == port
	}
	var set struct{ Set []json.RawMessage }
	if json.Unmarshal(m.Right, &set) != nil {
		return false
	}
	for _, member := range set.Set {
		if json.Unmarshal(member, &one) == nil && one == port {
			return true
		}
	}
	return false
}

// services looks up what the node has for each.
func (l *looker) services(ctx context.Context) {
	for _, t := range l.ask.Services {
		v := diagnose.ServiceView{Target: t}
		if ipvs, _ := filepath.Glob(filepath.Join(l.Names, "sdn-tunnel.*")); len(ipvs) > 0 {
			return // kube-router balances, whose health the agent tells
		}
		if !l.Namespace.Exists() {
			return
		}
		key := remoteservice.Key{Addr: t.Address, Protocol: corev1.Protocol(strings.ToUpper(t.Protocol)), Port: t.Port}
		var err error
		if v.Backends, v.Known, err = svcproxy.Lookup(ctx, l.Namespace, key); err != nil {
			l.set(func(view *diagnose.NodeView) { view.ProxyError = err.Error() })
			return
		}
		l.set(func(view *diagnose.NodeView) { view.Services = append(view.Services, v) })
	}
}
