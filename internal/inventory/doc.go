// Package inventory reads and writes the inventory of a mesh. It reads through
// ansible-inventory, so that groups, variables and vaults mean what they mean to
// Ansible, and accepts both forms: the group "clusters", whose hosts are the clusters,
// and the list variable "clusters". It keeps what it read in memory only.
package inventory
