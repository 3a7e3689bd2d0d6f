package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/berth-storage/berth/internal/standin"
)

func configTranslateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "translate DIR|FILE|-",
		Short: "Print the static provisioner's configuration in Berth's form",
		Long: `Translate reads a configuration of the established static provisioner and
prints the configuration that makes the agent do the same. What differs, and
what the operator may want to change, stands in comments.

The configuration is a directory with a file for each key of the ConfigMap, or
a file with the ConfigMap itself, as kubectl prints it; "-" is the standard input:

  kubectl get configmap -n kube-system local-provisioner-config -o yaml | berth config translate -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("found %d arguments; allowed: one, the DIR, the FILE or -\nSee %q", len(args), cmd.CommandPath()+" --help")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := establishedKeys(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			t, err := standin.Translate(keys)
			if err != nil {
				return err
			}
			text, err := t.YAML()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

// establishedKeys reads the ConfigMap's keys from where the operator has them.
func establishedKeys(from string, stdin io.Reader) (map[string]string, error) {
	name, read := from, func() ([]byte, error) { return os.ReadFile(from) }
	if from == "-" {
		name, read = "standard input", func() ([]byte, error) { return io.ReadAll(stdin) }
	} else if info, err := os.Stat(from); err == nil && info.IsDir() {
		keys, err := standin.Dir{Path: from}.Read()
		if err == nil && len(keys) == 0 {
			err = errors.New("reading configuration: " + from + ": found no files; allowed: a file for each key of the ConfigMap")
		}
		return keys, err
	}
	data, err := read()
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	return standin.ConfigMapData(name, data)
}
