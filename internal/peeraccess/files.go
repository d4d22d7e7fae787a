package peeraccess

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Keys for programs that have the Secret mounted and read a kubeconfig only at start,
// such as CoreDNS: the kubeconfig never changes with the token, which is in a file
// beside it that client-go reads again and again.
const (
	// FileKubeconfigKey holds a kubeconfig without a token; its tokenFile is TokenKey,
	// relative to the file itself, so it works wherever both are mounted side by side.
	FileKubeconfigKey = "dns.kubeconfig"
	// TokenKey holds the token alone.
	TokenKey = "token"
)

// secretData are all keys of a Secret.
func secretData(cluster string, s Server, t Token) (map[string][]byte, error) {
	inline, err := kubeconfig(cluster, s, t.Account, t.Namespace, clientcmdapi.AuthInfo{Token: t.raw})
	if err != nil {
		return nil, err
	}
	files, err := kubeconfig(cluster, s, t.Account, t.Namespace, clientcmdapi.AuthInfo{TokenFile: TokenKey})
	if err != nil {
		return nil, err
	}
	return map[string][]byte{KubeconfigKey: inline, FileKubeconfigKey: files, TokenKey: []byte(t.raw)}, nil
}

// inStep tells whether the keys for files say the same as the kubeconfig does, which
// is the one that counts.
func inStep(secret *corev1.Secret, cluster string, s Server, t Token) bool {
	want, err := secretData(cluster, s, t)
	return err == nil && bytes.Equal(secret.Data[TokenKey], want[TokenKey]) &&
		bytes.Equal(secret.Data[FileKubeconfigKey], want[FileKubeconfigKey])
}

// kubeconfig makes a file with one context.
func kubeconfig(cluster string, s Server, account, namespace string, user clientcmdapi.AuthInfo) ([]byte, error) {
	c := clientcmdapi.NewConfig()
	c.Clusters[cluster] = &clientcmdapi.Cluster{Server: s.URL, CertificateAuthorityData: s.CAData, TLSServerName: s.TLSServerName}
	c.AuthInfos[account] = &user
	c.Contexts[cluster] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: account, Namespace: namespace}
	c.CurrentContext = cluster
	raw, err := clientcmd.Write(*c)
	if err != nil {
		return nil, fmt.Errorf("write the kubeconfig for %s: %w", cluster, err)
	}
	return raw, nil
}
