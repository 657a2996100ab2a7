// Reads Kubernetes manifests as a JSON list and prints as another what is wrong with them: what the APIs' schemas refuse,
// and by their types, fields that they do not have, which schemas let pass.

import { text } from "node:stream/consumers";
import path from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

// The packages that know the kinds of each API group; Kubernetes' own are in another.
const PACKAGES = [
  ["monitoring.coreos.com/", "@kubernetes-models/prometheus-operator/"],
  ["keda.sh/", "@kubernetes-models/keda/"],
];
const HOME = path.dirname(fileURLToPath(import.meta.url));
const PROGRAM = path.join(HOME, "manifests.ts");
const OPTIONS = {
  noEmit: true,
  strict: true,
  skipLibCheck: true,
  preserveSymlinks: true,
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  types: [],
};

function moduleOf({ apiVersion, kind }) {
  const known = PACKAGES.find(([group]) => apiVersion.startsWith(group));
  return `${known ? known[1] : "kubernetes-models/"}${apiVersion}/${kind}`;
}

async function refused(manifest) {
  const { [manifest.kind]: Kind } = await import(moduleOf(manifest));
  try {
    new Kind(manifest).validate();
    return [];
  } catch (error) {
    return [`${manifest.kind} ${manifest.metadata.name}: ${error.message}`];
  }
}

function unknown(manifests) {
  const lines = manifests.map(
    (manifest, at) => `const m${at}: import("${moduleOf(manifest)}").I${manifest.kind} = ${JSON.stringify(manifest)};`,
  );
  const host = ts.createCompilerHost(OPTIONS);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => name === PROGRAM || fileExists(name);
  host.getSourceFile = (name, ...rest) =>
    name === PROGRAM ? ts.createSourceFile(name, lines.join("\n"), OPTIONS.target) : getSourceFile(name, ...rest);
  const faults = ts.getPreEmitDiagnostics(ts.createProgram([PROGRAM], OPTIONS, host));
  return faults.map((fault) => {
    const message = ts.flattenDiagnosticMessageText(fault.messageText, " ");
    if (fault.file?.fileName !== PROGRAM) return message;
    const { kind, metadata } = manifests[fault.file.getLineAndCharacterOfPosition(fault.start).line];
    return `${kind} ${metadata.name}: ${message}`;
  });
}

const manifests = JSON.parse(await text(process.stdin));
const faults = [...(await Promise.all(manifests.map(refused))).flat(), ...unknown(manifests)];
process.stdout.write(JSON.stringify(faults));
