// Package inventory reads and writes the inventory of a mesh. It lets Ansible evaluate
// the variables, so that groups, templates and vaults mean what they mean to the
// playbooks, and accepts both forms: the group "clusters", whose hosts are the clusters,
// and the list variable "clusters". What was read passes through files of mode 0600 in a
// folder that is gone when Load returns; values are never on a command line.
package inventory
