package controller

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

// reasonNameTaken says that an object that somebody else made has the name of an import.
const reasonNameTaken = "NameTaken"

// names is a set that several goroutines use.
type names struct {
	mu  sync.Mutex
	all map[string]bool
}

// set puts a name into the set, or takes it out, and tells whether that changed anything.
func (n *names) set(name string, in bool) (changed bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed = n.all[name] != in
	switch {
	case !in:
		delete(n.all, name)
	case n.all == nil:
		n.all = map[string]bool{name: true}
	default:
		n.all[name] = true
	}
	return changed
}

func (n *names) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.all))
}

// servicesImported is the condition ServicesImported of the own cluster; foreign are the
// imports whose names somebody else's ServiceImports have, tooMany says what there is no
// room for.
func servicesImported(foreign []string, tooMany string) metav1.Condition {
	if tooMany != "" {
		return condition(v1alpha1.ConditionServicesImported, false, reasonShareTaken, tooMany)
	}
	if len(foreign) > 0 {
		return condition(v1alpha1.ConditionServicesImported, false, reasonNameTaken, fmt.Sprintf(
			"%d exported services are not imported here, as ServiceImports that sdn-tunnel did not make have their names; delete these, or end the exports: %s",
			len(foreign), few(foreign)))
	}
	return condition(v1alpha1.ConditionServicesImported, true, "Imported", "nothing stands in the way of what members export")
}

// exportReady is the condition Ready of the own cluster's export of a service. exported:
// there is a service that can be. foreign: somebody else's ServiceImport has the name.
func exportReady(id clusterset.ID, exported, foreign bool) metav1.Condition {
	c := metav1.Condition{Type: string(mcsv1alpha1.ServiceExportConditionReady), Status: metav1.ConditionFalse}
	switch {
	case !exported:
		c.Reason = string(mcsv1alpha1.ServiceExportReasonPending)
		c.Message = "there is nothing to export yet: the condition Valid says why"
	case foreign:
		c.Reason = reasonNameTaken
		c.Message = fmt.Sprintf("sdn-tunnel did not make the ServiceImport %s/%s that is in this cluster, so here that name is not this service; delete it, and it is made anew",
			id.Namespace, id.Name)
	default:
		c.Status, c.Reason = metav1.ConditionTrue, string(mcsv1alpha1.ServiceExportReasonReady)
		c.Message = "all clusters that have the namespace can import the service"
	}
	return c
}

// sameReadiness: another controller of the same API may say the same in words of its own.
func sameReadiness(is, want metav1.Condition) bool {
	return is.Reason == want.Reason || is.Status == metav1.ConditionTrue
}
