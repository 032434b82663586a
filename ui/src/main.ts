import "./locale";

import "./styles/tokens.css";
import "./styles/fonts.css";
import "./styles/base.css";
import "./styles/textures.css";
import "uplot/dist/uPlot.min.css";

import { mount } from "svelte";

import App from "./App.svelte";
import { chooseBackend } from "./ipc/choose";

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has an element with the id app");
const backend = await chooseBackend();
mount(App, { target, props: { backend } });
