// Tells the times of a page that follows nothing in the reader's own zone.
import { localise } from "./live.js";

localise(document);
