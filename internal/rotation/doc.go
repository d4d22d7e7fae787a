// Package rotation replaces, at an administrator's word, the private keys of nodes and the
// credentials by which clusters read each other, and follows each until all who must know
// of it do.
//
// It makes no key and sees none: the nodes' agents do, when their TunnelNodes are annotated.
package rotation
