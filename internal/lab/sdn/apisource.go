package sdn

import (
	"context"
	"fmt"

	networkclient "github.com/openshift/client-go/network/clientset/versioned"
	networkinformers "github.com/openshift/client-go/network/informers/externalversions"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// apiSource is a Source that watches an API server.
type apiSource struct {
	kube    informers.SharedInformerFactory
	network networkinformers.SharedInformerFactory
}

// NewAPISource is a Source over a cluster's API. Install makes the permission that it
// needs, for the group system:nodes.
func NewAPISource(cfg *rest.Config) (Source, error) {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for the node's cluster: %w", err)
	}
	network, err := networkclient.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for the node's cluster: %w", err)
	}
	return &apiSource{
		kube:    informers.NewSharedInformerFactory(kube, 0),
		network: networkinformers.NewSharedInformerFactory(network, 0),
	}, nil
}

func (s *apiSource) Run(ctx context.Context, changed func()) error {
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { changed() },
		DeleteFunc: func(any) { changed() },
		UpdateFunc: func(old, new any) {
			if !samePod(old, new) {
				changed()
			}
		},
	}
	all := []cache.SharedIndexInformer{
		s.kube.Core().V1().Namespaces().Informer(), s.kube.Core().V1().Pods().Informer(),
		s.kube.Networking().V1().NetworkPolicies().Informer(),
		s.network.Network().V1().HostSubnets().Informer(), s.network.Network().V1().NetNamespaces().Informer(),
	}
	var synced []cache.InformerSynced
	for _, inf := range all {
		reg, err := inf.AddEventHandler(handler)
		if err != nil {
			return fmt.Errorf("watch the cluster: %w", err)
		}
		synced = append(synced, reg.HasSynced)
	}
	s.kube.Start(ctx.Done())
	s.network.Start(ctx.Done())
	defer s.kube.Shutdown()
	defer s.network.Shutdown()
	if cache.WaitForCacheSync(ctx.Done(), synced...) {
		changed()
	}
	<-ctx.Done()
	return nil
}

// samePod tells whether an update is of a pod in things that no flow depends on.
func samePod(old, new any) bool {
	was, ok1 := old.(*corev1.Pod)
	is, ok2 := new.(*corev1.Pod)
	return ok1 && ok2 && was.Status.PodIP == is.Status.PodIP && was.Status.Phase == is.Status.Phase &&
		equality.Semantic.DeepEqual(was.Labels, is.Labels)
}

// State reads the watches' caches; their listers fail for nothing but a bad selector.
func (s *apiSource) State() State {
	var st State
	every := labels.Everything()
	st.HostSubnets, _ = s.network.Network().V1().HostSubnets().Lister().List(every)
	st.NetNamespaces, _ = s.network.Network().V1().NetNamespaces().Lister().List(every)
	st.Namespaces, _ = s.kube.Core().V1().Namespaces().Lister().List(every)
	st.Policies, _ = s.kube.Networking().V1().NetworkPolicies().Lister().List(every)
	st.Pods, _ = s.kube.Core().V1().Pods().Lister().List(every)
	return st
}
