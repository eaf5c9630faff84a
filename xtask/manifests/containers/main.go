// What Docker reads, by its own readers: prints the project of the given Compose files, with everything filled in, and the
// instructions of the given Dockerfile, as JSON. Whatever Docker would refuse ends it with an error.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

type stage struct {
	Base     string
	Name     string
	Commands []string
}

func run(arguments []string) error {
	if len(arguments) == 2 && arguments[0] == "dockerfile" {
		return dockerfile(arguments[1])
	}
	if len(arguments) > 1 && arguments[0] == "compose" {
		return compose(arguments[1:])
	}
	return fmt.Errorf("containers compose FILE... | containers dockerfile FILE")
}

func compose(files []string) error {
	// An environment of nothing: what the files say must not depend on who reads them.
	options, err := cli.NewProjectOptions(files, cli.WithConsistency(true), cli.WithResolvedPaths(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	text, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(text)
	return err
}

func dockerfile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return err
	}
	for _, warning := range parsed.Warnings {
		return fmt.Errorf("%s: %s", path, warning.Short)
	}
	var complaint error
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		complaint = fmt.Errorf("%s: %s: %s", path, rule, message)
	}})
	parsedStages, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		return err
	}
	if complaint != nil {
		return complaint
	}
	var stages []stage
	for _, one := range parsedStages {
		found := stage{Base: one.BaseName, Name: one.Name}
		for _, command := range one.Commands {
			text := command.Name()
			if said, ok := command.(fmt.Stringer); ok {
				text = said.String()
			}
			found.Commands = append(found.Commands, text)
		}
		stages = append(stages, found)
	}
	return json.NewEncoder(os.Stdout).Encode(stages)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
