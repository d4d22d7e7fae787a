// Package catalog knows which services another member of the mesh has and shares, as
// its API server says: addresses, ports and endpoints, kept small and up to date by
// watches, with the member's export policy applied.
//
// It believes nothing: what comes is bounded in number and size, and what no service can
// be is refused and named. Whether an address is one that the member may use is judged
// where its declaration is known, in package controller, which makes the mirrors. The
// catalog writes nothing anywhere.
//
// Of headless services only those with a ServiceExport are shared, whatever the policy: by
// their addresses nobody asks for them. Not in it are ExternalName services, the API
// server's own default/kubernetes, and the namespace of sdn-tunnel, where the member's
// node services and its own mirrors are.
package catalog
