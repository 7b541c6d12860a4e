#!/usr/bin/env node
// Runs the program of the package for this machine, with its signals and its exit status.
const { spawn } = require('node:child_process');
const { constants } = require('node:os');

const name = `@encargo/${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/encargo`);
} catch {
  console.error(`encargo: the package ${name} is not installed; there is one for Linux on x64 and arm64`);
  process.exit(1);
}
const child = spawn(program, process.argv.slice(2), { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('error', (error) => {
  console.error(`encargo: ${error.message}`);
  process.exit(1);
});
child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
