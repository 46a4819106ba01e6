// The program kubectl, from the modules that it consists of: its own cannot be had by `go install`.
package main

import (
	_ "k8s.io/client-go/plugin/pkg/client/auth" // logins that a kubeconfig may name
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
