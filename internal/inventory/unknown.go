package inventory

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/spelling"
)

// known are the variables that the playbooks read; inventory.example describes them.
var known = []string{
	"agent_image", "agent_metrics_address", "agent_peer_metrics", "appname", "ca_file", "cluster_domain", "clusters",
	"controller_image", "controller_replicas", "coredns_image", "coredns_replicas", "corefile_extra",
	"dns_clusterset", "dns_enabled", "dns_forward", "dns_zone", "export_policy", "image_pull_policy", "key_max_age",
	"kube_context", "kubeconfig", "monitoring", "monitoring_labels", "namespace", "password", "pod_cidrs", "rollout_timeout", "sdn_tunnel_version",
	"service_account_name", "service_annotations", "service_cidrs", "service_proxy", "service_type", "static_endpoints",
	"test_image", "tunnel_admission", "tunnel_mode", "tunnel_mtu", "tunnel_pool", "tunnel_port",
	"upgrade_allow_downgrade", "upgrade_batch", "upgrade_force", "upgrade_rollback", "upgrade_settle_timeout", "url",
	"username", "vip_timeout", "vnid", "wireguard_install", "wireguard_userspace",
}

// ansibles are variables that Ansible itself sets on every host.
var ansibles = []string{
	"environment", "group_names", "groups", "hostvars", "inventory_dir", "inventory_file", "inventory_hostname",
	"inventory_hostname_short", "module_setup", "omit", "play_hosts", "playbook_dir", "role_name", "role_names",
	"role_path", "gather_subset", "vars", "playbook_name",
}

// Unknown warns of names that nothing reads, with what may have been meant. Names
// with the prefixes ansible_, sdn_ and vault_ belong to others.
func Unknown(names []string) []string {
	var warnings []string
	for _, name := range names {
		if slices.Contains(known, name) || slices.Contains(ansibles, name) || foreign(name) {
			continue
		}
		warning := fmt.Sprintf("the inventory sets %s, which nothing reads", name)
		if near := spelling.Nearest(name, known); near != "" {
			warning += "; did you mean " + near + "?"
		}
		warnings = append(warnings, warning)
	}
	return warnings
}

func foreign(name string) bool {
	return slices.ContainsFunc([]string{"ansible_", "discovered_interpreter_", "sdn_", "vault_", "facts_", "lab_"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
