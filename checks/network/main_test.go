package network_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const (
	insideVariable = "CLIXNOW_NETWORK_INSIDE"
	probe          = "probe"
)

// unavailable is why namespaces cannot be used. "" means that they can.
var unavailable string

// TestMain runs the tests in a process that may create network namespaces: as
// root of a new user namespace or, if that fails, as root of the machine.
func TestMain(m *testing.M) {
	if text := os.Getenv(planVariable); text != "" {
		if err := runClient(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	switch os.Getenv(insideVariable) {
	case probe:
		_, _, err := newNamespace(clientAddress)
		if err != nil {
			fmt.Print(err)
			os.Exit(1)
		}
		return
	case "":
		var output []byte
		for _, user := range []bool{true, false} {
			command := again(user, probe)
			found, err := command.CombinedOutput()
			if err == nil {
				os.Exit(runAgain(user))
			}
			output = fmt.Appendf(output, "; user namespace %t: %s: %v", user, found, err)
		}
		unavailable = "no network namespaces with TUN devices" + string(output)
	}
	os.Exit(m.Run())
}

// again returns a command that runs this program again, with or without a user
// namespace.
func again(user bool, inside string) *exec.Cmd {
	command := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:noctx // it is this program
	command.Env = append(os.Environ(), insideVariable+"="+inside)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if user {
		command.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return command
}

func runAgain(user bool) int {
	command := again(user, "yes")
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := command.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// needNamespaces skips a test if there are no namespaces. With CI=true it
// fails.
func needNamespaces(t *testing.T) {
	t.Helper()
	switch {
	case unavailable == "":
	case os.Getenv("CI") != "":
		t.Fatal(unavailable)
	default:
		t.Skip("SKIPPED: " + unavailable)
	}
}
